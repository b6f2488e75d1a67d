"""Numbers of all workers of one Homeport: whoever is asked for them asks the others, over their Unix sockets.

Each sample has the name of its process in the label `worker`, and nothing is added up here: a worker that was started
again begins at zero, and a sum that falls looks to Prometheus as if all had been. A sibling that does not answer has no
samples until it does.
"""

import asyncio
import logging
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import msgspec

from homeport.api.exposition import Buckets, Family, Samples
from homeport.telemetry import FAMILIES

log = logging.getLogger("homeport")

#: For the answer of one sibling.
PATIENCE = 2.0
#: Bytes of it at most.
LARGEST = 256 * 2**20
#: Samples that are packed before others have their turn in the event loop.
AT_ONCE = 200

Numbers = Callable[[], Iterable[tuple[Family, Samples]]]


class Siblings(NamedTuple):
    """folder: of the sockets; nobody else may enter it. names: of all processes that tell numbers, this one's too."""

    folder: Path
    name: str
    names: Sequence[str]

    def socket(self, name: str) -> Path:
        return self.folder / f"{name}.numbers"


class _Counted(msgspec.Struct, array_like=True):
    """A histogram."""

    bounds: Sequence[float]
    counts: Sequence[int]
    sum: float


class _Sample(msgspec.Struct, array_like=True):
    """family: its name. One of number and buckets is there."""

    family: str
    labels: tuple[str, ...]
    number: float | None
    buckets: _Counted | None

    @property
    def value(self) -> "float | Buckets":
        if self.buckets is not None:
            return self.buckets
        return self.number if self.number is not None else 0.0


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(list[_Sample]).decode


class Gathering:
    """The numbers of this process, and of its siblings. Of a process that answers nobody: its own, for those who do."""

    def __init__(self, own: Numbers, siblings: Siblings) -> None:
        self._own = own
        self._siblings = siblings

    async def watch(self) -> None:
        """Tell the siblings who ask, until cancelled."""
        path = self._siblings.socket(self._siblings.name)
        path.unlink(missing_ok=True)  # of a process of this name that was killed
        server = await asyncio.start_unix_server(self._tell, path)
        async with server:
            await server.serve_forever()

    async def collect(self) -> Iterable[tuple[Family, Samples]]:
        others = [name for name in self._siblings.names if name != self._siblings.name]
        told = await asyncio.gather(*[self._asked(name) for name in others])
        by_family: dict[str, list[tuple[tuple[str, ...], float | Buckets]]] = {}
        for name, samples in zip((self._siblings.name, *others), (await self._packed(), *told), strict=True):
            for sample in samples:
                by_family.setdefault(sample.family, []).append(((name, *sample.labels), sample.value))
        return [
            (family._replace(labels=("worker", *family.labels)), by_family[family.name])
            for family in FAMILIES
            if family.name in by_family
        ]

    async def _tell(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            writer.write(_encode(await self._packed()))
            await writer.drain()
            writer.close()
            await writer.wait_closed()

    async def _packed(self) -> list[_Sample]:
        samples: list[_Sample] = []
        for family, found in self._own():
            for labels, value in [*found]:
                if isinstance(value, int | float):
                    samples.append(_Sample(family.name, labels, float(value), None))
                else:
                    counted = _Counted(tuple(value.bounds), tuple(value.counts), value.sum)
                    samples.append(_Sample(family.name, labels, None, counted))
                if len(samples) % AT_ONCE == 0:
                    await asyncio.sleep(0)
        return samples

    async def _asked(self, name: str) -> list[_Sample]:
        """Nothing, where it does not answer."""
        try:
            async with asyncio.timeout(PATIENCE):
                reader, writer = await asyncio.open_unix_connection(self._siblings.socket(name), limit=LARGEST)
                try:
                    return _decode(await reader.read(-1))
                finally:
                    writer.close()
        except (OSError, TimeoutError, msgspec.DecodeError) as error:
            log.warning("%s does not tell its numbers: %s", name, type(error).__name__)
            return []
