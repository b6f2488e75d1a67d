"""Numbers of all workers of one Homeport: whoever is asked for them asks the others, over their Unix sockets.

Each sample has the name of its process in the label `worker`, and nothing is added up here: a worker that was started
again begins at zero, and a sum that falls looks to Prometheus as if all had been. A sibling that does not answer has no
samples until it does.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable, Sequence
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

    def socket(self, name: str, of: str) -> Path:
        return self.folder / f"{name}.{of}"


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


class Round:
    """What each process tells the others, when they ask. Of a process that answers nobody: for those who do."""

    def __init__(self, siblings: Siblings, of: str, tell: Callable[[], Awaitable[bytes]]) -> None:
        """of: what is told; each has sockets of its own."""
        self._siblings = siblings
        self._of = of
        self._tell = tell

    @property
    def name(self) -> str:
        return self._siblings.name

    @property
    def others(self) -> Sequence[str]:
        return [name for name in self._siblings.names if name != self._siblings.name]

    async def watch(self) -> None:
        """Tell the siblings who ask, until cancelled."""
        path = self._siblings.socket(self._siblings.name, self._of)
        path.unlink(missing_ok=True)  # of a process of this name that was killed
        server = await asyncio.start_unix_server(self._answer, path)
        async with server:
            await server.serve_forever()

    async def ask(self) -> dict[str, bytes]:
        """What the others tell. Those that do not answer are left out."""
        told = await asyncio.gather(*[self._asked(name) for name in self.others])
        return {name: said for name, said in zip(self.others, told, strict=True) if said}

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            writer.write(await self._tell())
            await writer.drain()
            writer.close()
            await writer.wait_closed()

    async def _asked(self, name: str) -> bytes:
        """Nothing, where it does not answer."""
        try:
            async with asyncio.timeout(PATIENCE):
                socket = self._siblings.socket(name, self._of)
                reader, writer = await asyncio.open_unix_connection(socket, limit=LARGEST)
                try:
                    return await reader.read(-1)
                finally:
                    writer.close()
        except (OSError, TimeoutError) as error:
            log.warning("%s does not tell its %s: %s", name, self._of, type(error).__name__)
            return b""


class Gathering:
    """The numbers of this process, and of its siblings."""

    def __init__(self, own: Numbers, siblings: Siblings) -> None:
        self._own = own
        self._round = Round(siblings, "numbers", self._told)

    async def watch(self) -> None:
        """Until cancelled."""
        await self._round.watch()

    async def collect(self) -> Iterable[tuple[Family, Samples]]:
        told = {name: _unpacked(name, packed) for name, packed in (await self._round.ask()).items()}
        by_family: dict[str, list[tuple[tuple[str, ...], float | Buckets]]] = {}
        for name, samples in ((self._round.name, await self._packed()), *told.items()):
            for sample in samples:
                by_family.setdefault(sample.family, []).append(((name, *sample.labels), sample.value))
        return [
            (family._replace(labels=("worker", *family.labels)), by_family[family.name])
            for family in FAMILIES
            if family.name in by_family
        ]

    async def _told(self) -> bytes:
        return _encode(await self._packed())

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


def _unpacked(name: str, packed: bytes) -> list[_Sample]:
    try:
        return _decode(packed)
    except msgspec.DecodeError as error:
        log.warning("%s does not tell its numbers: %s", name, type(error).__name__)
        return []
