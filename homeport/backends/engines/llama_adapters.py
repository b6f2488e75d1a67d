"""Adapters of fine-tuned models over one model: the server of llama.cpp that has them, and how another takes its place.

llama.cpp reads adapters when a server is made, and never again. So when one is wanted that the server does not have,
another server is made beside it, with those that are wanted and those that were used last; it takes over, and the first
one is closed when the last of its requests has ended. Nobody waits but those who want what is not there yet, and they
share one change.

    current ---an adapter is wanted---> current, another is made ---it is warm---> leaving, current ---------+
       ^                                        |                                                            |
       |                                        +-- it cannot be made: who wanted it is told                 |
       +------------------------------- closed: the last request of the one that leaves has ended -----------+

Weights are mapped and stay once in memory, but each server has a key-value cache of its own: there are two while one
leaves. A third is never made: the next change waits.

A request tells its server how much *every* adapter counts, base requests too: whoever says nothing gets the cache that
the last one has left in its place, and with it another model's answer.
"""

import asyncio
import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from homeport import clock
from homeport.backends.engines import gguf_header
from homeport.backends.engines.llama_server import LlamaServer
from homeport.backends.engines.memory import Memory
from homeport.errors import HomeportError, ModelNotReady, SettingsError, Unavailable

log = logging.getLogger("homeport.llama_cpp")

#: Seconds in which those that come together are gathered for one change.
GATHER_SECONDS = 0.02
#: Until one that could not be loaded is tried again.
AGAIN_SECONDS = 60.0


class Lease:
    """A server for as long as a request needs it. lora: what the request must say of adapters."""

    __slots__ = ("_serving", "lora")

    def __init__(self, serving: "_Serving", adapter: Path | None) -> None:
        serving.leases += 1
        self._serving = serving
        self.lora = [
            {"id": number, "scale": 1.0 if one == adapter else 0.0} for number, one in enumerate(serving.adapters)
        ]

    @property
    def server(self) -> LlamaServer:
        return self._serving.server

    def end(self) -> None:
        """Once. In the event loop."""
        self._serving.leases -= 1
        if not self._serving.leases:
            self._serving.idle.set()


class _Serving:
    """idle: nobody has had a lease of it for a moment at least since this was cleared."""

    def __init__(self, make: Callable[[Sequence[Path]], LlamaServer], adapters: Sequence[Path]) -> None:
        """Blocks. Raises as `make`."""
        self.adapters = tuple(adapters)
        self.memory = Memory()
        self.server = self.memory.taken_by(lambda: make(self.adapters))
        self.leases = 0
        self.idle = asyncio.Event()

    async def unused(self) -> None:
        """Whoever has a lease of it has ended it. There are no new ones."""
        while self.leases:
            self.idle.clear()
            await self.idle.wait()


class Adapters:
    """Of one model. For one event loop, but for `open`."""

    def __init__(self, make: Callable[[Sequence[Path]], LlamaServer], *, architecture: object, most: int) -> None:
        """make: a server that has these adapters, and has done something already; blocks; raises ModelNotReady.
        architecture: of the model. most: adapters that a server has."""
        self._make = make
        self._architecture = architecture
        self._most = most
        self._current: _Serving | None = None
        self._leaving: _Serving | None = None
        self._used: dict[Path, None] = {}
        self._wanted: dict[Path, list[asyncio.Future[Lease]]] = {}
        self._unusable: dict[Path, float] = {}
        self._changing: asyncio.Task[None] | None = None
        self._closed = False

    def open(self) -> None:
        """The first server, without adapters. Blocks. Raises ModelNotReady."""
        self._current = _Serving(self._make, ())

    @property
    def server(self) -> LlamaServer:
        """The one that answers now. It may be another one in a moment: see `lease`."""
        assert self._current is not None, "start() has not been awaited"
        return self._current.server

    @property
    def loaded(self) -> Sequence[Path]:
        return self._current.adapters if self._current is not None else ()

    @property
    def memory_bytes(self) -> int | None:
        """Of the server, and of the one that leaves."""
        known = [one.memory.bytes for one in (self._current, self._leaving) if one is not None]
        return sum(one or 0 for one in known) if any(one is not None for one in known) else None

    def lease_base(self) -> Lease:
        assert self._current is not None, "start() has not been awaited"
        return Lease(self._current, None)

    async def lease(self, adapter: Path | None) -> Lease:
        """Of a server that has it, once there is one; its `end` must follow. Raises ModelNotReady: the adapter cannot
        be used; Unavailable: the model is being closed."""
        if adapter is None:
            return self.lease_base()
        if adapter in self.loaded:
            return self._lease(adapter)
        self._check_open()
        if clock.monotonic() < self._unusable.get(adapter, 0.0):
            raise _unusable()
        loop = asyncio.get_running_loop()
        waiting: asyncio.Future[Lease] = loop.create_future()
        self._wanted.setdefault(adapter, []).append(waiting)
        if self._changing is None:
            self._changing = loop.create_task(self._change())
        try:
            lease = await waiting
        except asyncio.CancelledError:
            if waiting.done() and not waiting.cancelled() and waiting.exception() is None:
                waiting.result().end()  # it came in the same moment
            raise
        if self._closed:  # in the same moment
            lease.end()
            raise shut_down()
        return lease

    async def ready(self, adapter: Path | None) -> None:
        """It is loaded now. Raises as `lease`."""
        if adapter is not None:
            (await self.lease(adapter)).end()

    def refuse(self) -> None:
        """The model is being closed: no more changes."""
        self._closed = True
        self._answer(list(self._wanted), shut_down)

    async def close(self) -> None:
        """Once nobody has a lease, or will have ended it soon."""
        self.refuse()
        if self._changing is not None:
            await self._changing
        serving, self._current = self._current, None
        if serving is not None:
            await asyncio.get_running_loop().run_in_executor(None, serving.server.close)

    def _check_open(self) -> None:
        if self._closed:
            raise shut_down()

    def _lease(self, adapter: Path) -> Lease:
        assert self._current is not None
        self._used.pop(adapter, None)
        self._used[adapter] = None
        return Lease(self._current, adapter)

    # The change

    async def _change(self) -> None:
        """As long as something is wanted."""
        loop = asyncio.get_running_loop()
        try:
            while self._wanted and not self._closed:
                await clock.sleep(GATHER_SECONDS)
                wanted, kept = self._chosen()
                before = self._current
                made, unusable = await loop.run_in_executor(None, self._made, wanted, kept)
                now = clock.monotonic()
                self._unusable = {one: until for one, until in self._unusable.items() if until > now}
                self._unusable |= dict.fromkeys(unusable, now + AGAIN_SECONDS)
                if made is not None:
                    self._current = made
                    self._used = {one: None for one in self._used if one in made.adapters}
                self._answer(wanted, _unusable)
                if made is not None and before is not None:
                    self._leaving = before
                    await before.unused()
                    await loop.run_in_executor(None, before.server.close)
        except Exception as error:
            log.error("adapters could not be loaded: %s", type(error).__name__)
            self._answer(list(self._wanted), _failed)
        finally:
            self._leaving = None
            self._changing = None

    def _chosen(self) -> tuple[list[Path], list[Path]]:
        """What is wanted by somebody who still waits, and what was used last."""
        self._wanted = {adapter: some for adapter, some in self._wanted.items() if not all(one.done() for one in some)}
        wanted = list(self._wanted)[: self._most]
        kept = [one for one in reversed(self._used) if one in self.loaded and one not in wanted]
        return wanted, kept[: self._most - len(wanted)]

    def _made(self, wanted: Sequence[Path], kept: Sequence[Path]) -> tuple[_Serving | None, Sequence[Path]]:
        """In a thread. A server with them, and those that cannot be had; None: there is none for any of those wanted.
        One that is damaged takes no other down: when they cannot be loaded together, each is tried alone."""
        reasons = {adapter: _why_not(adapter, self._architecture) for adapter in (*wanted, *kept)}
        for adapter in wanted:
            if reasons[adapter] is not None:
                log.error("the adapter %s is not used: %s", adapter.name, reasons[adapter])
        unusable = [one for one in wanted if reasons[one] is not None]
        usable = [one for one in wanted if reasons[one] is None]
        kept = [one for one in kept if reasons[one] is None]  # those of models that were deleted are not there
        if not usable:
            return None, unusable
        made = self._serving(usable, kept)
        if made is None:
            alone = [one for one in usable if self._loads(one)] if len(usable) + len(kept) > 1 else []
            for adapter in usable:
                if adapter not in alone:
                    log.error("llama.cpp cannot load the adapter %s", adapter.name)
                    unusable.append(adapter)
            made = (self._serving(alone, kept) or self._serving(alone, ())) if alone else None
        return made, unusable

    def _serving(self, usable: Sequence[Path], kept: Sequence[Path]) -> _Serving | None:
        adapters = (*kept, *usable)
        began = clock.monotonic()
        try:
            serving = _Serving(self._make, adapters)
        except HomeportError:
            return None
        log.info("a server with %d adapters was made in %.2f s", len(adapters), clock.monotonic() - began)
        return serving

    def _loads(self, adapter: Path) -> bool:
        try:
            self._make((adapter,)).close()
        except HomeportError:
            return False
        return True

    def _answer(self, adapters: Sequence[Path], error: Callable[[], HomeportError]) -> None:
        """Who waits for one of these gets a lease where it is loaded, and else the error."""
        for adapter in adapters:
            for waiting in self._wanted.pop(adapter, ()):
                if waiting.done():
                    continue
                if adapter in self.loaded and not self._closed:
                    waiting.set_result(self._lease(adapter))
                else:
                    waiting.set_exception(error())


def listed(adapters: Sequence[Path]) -> list[Any]:
    """For CommonParams: loaded, and counting for nothing unless a request says so."""
    import xllamacpp

    return [xllamacpp.CommonAdapterLoraInfo(str(one), 0.0) for one in adapters]


def shut_down() -> HomeportError:
    return Unavailable("The model is being shut down. Try again in a few seconds.", code="model_not_ready")


def _failed() -> HomeportError:
    return HomeportError("The fine-tuned model could not be loaded. You can retry your request.")


def _unusable() -> HomeportError:
    return ModelNotReady(
        "The fine-tuned model cannot be used: its adapter is damaged, or was made for another model than the one that "
        "is here. The server's log says more.",
        headers=(("x-should-retry", "false"),),
    )


def _why_not(adapter: Path, architecture: object) -> str | None:
    """What its head says that is wrong; what is wrong behind it llama.cpp finds. Source: llama-adapter.cpp."""
    try:
        header = gguf_header.read(adapter)
    except SettingsError as error:
        return str(error)
    if header.get("general.type") != "adapter" or header.get("adapter.type") != "lora":
        return "it is no adapter"
    if header.get("general.architecture") != architecture:
        return f"it is for {header.get('general.architecture')!r}, and the model is {architecture!r}"
    return None
