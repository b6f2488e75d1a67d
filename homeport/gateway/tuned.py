"""Fine-tuned models as the hot path sees them: which there are, who may use them, and what answers for them.

A model that was trained here is its base with an adapter over it: the base's own backend answers, once the adapter's
file is on this machine. A model that an upstream has trained is that upstream's, under the name it has there.
"""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from homeport import clock
from homeport.backends.capabilities import Answer, Call
from homeport.errors import ModelNotFound, Unavailable
from homeport.gateway.routing import Listed, Target
from homeport.store.tables import checkpoint_permissions, fine_tuned_models

if TYPE_CHECKING:
    from homeport.gateway.accounts import Snapshot

#: Files of models that are gone are looked for this often, and go as soon as the snapshot says so.
LOOK_SECONDS = 0.4


@dataclass(frozen=True, slots=True)
class Tuned:
    """model: as the client called what it was made from. base: the model of this machine, or of the upstream. digest:
    of the adapter; None: it is an upstream's. projects: that may use it, its own among them."""

    name: str
    model: str
    base: str
    upstream: str | None
    digest: str | None
    created_at: int
    projects: frozenset[str]


async def read(connection: AsyncConnection) -> Mapping[str, Tuned]:
    """All there are, by name, in the order in which they came."""
    granted: dict[str, set[str]] = {}
    for row in await connection.execute(sa.select(checkpoint_permissions)):
        granted.setdefault(row.checkpoint, set()).add(row.project_id)
    return {
        row.name: Tuned(
            row.name,
            row.model,
            row.base,
            row.upstream,
            row.digest,
            row.created_at,
            frozenset({row.project_id, *granted.get(row.name, ())}),
        )
        for row in await connection.execute(sa.select(fine_tuned_models).order_by(fine_tuned_models.c.seq))
    }


class Files(Protocol):
    """store/adapters.py."""

    async def file(self, digest: str) -> Path: ...

    async def drop(self, digests: Collection[str]) -> None: ...

    async def keep(self, digests: Collection[str]) -> None: ...


class TunedModels:
    def __init__(
        self,
        snapshot: "Callable[[], Snapshot]",
        files: Files,
        look: Callable[[], Awaitable[None]],
        *,
        held: Mapping[str, Any],
        through: Callable[[str, str], Target],
        organization: str,
    ) -> None:
        """snapshot: the newest one; raises Unavailable when it cannot be relied on. look: makes sure that it is the
        newest; raises Unavailable. held: models of this machine. through: an upstream's name and a model's to the
        target; raises KeyError: there is no such upstream. organization: whom they belong to."""
        self._snapshot = snapshot
        self._files = files
        self._look = look
        self._looking = asyncio.Lock()
        self._looked_at = float("-inf")
        self._held = held
        self._through = through
        self._organization = organization
        self._known: dict[str, tuple[Tuned, Target]] = {}
        self._there: set[str] = set()

    async def look_for(self, name: str) -> None:
        """Whatever was made before this is called is known when it returns: a job that has succeeded says so to whoever
        asks, and its model is asked at once, perhaps of another replica. Raises Unavailable."""
        if name in self._snapshot().tuned:
            return
        asked = clock.monotonic()
        async with self._looking:
            if self._looked_at < asked:  # else somebody has looked while this waited
                self._looked_at = clock.monotonic()
                with suppress(Unavailable):
                    await self._look()

    def targets(self, name: str, project: str | None) -> tuple[Target, ...] | None:
        """None: it is not known here. project: that asks; None: whoever does may. Raises ModelNotFound: it is another
        project's, or what it was made from is gone; Unavailable."""
        found = self._snapshot().tuned.get(name)
        if found is None:
            return None
        if project is not None and project not in found.projects:
            raise ModelNotFound.named(name)
        known = self._known.get(name)
        if known is None or known[0] != found:
            known = self._known[name] = (found, self._target(found))
        return (known[1],)

    def listed(self, project: str) -> Sequence[Listed]:
        """What a project may use."""
        return [
            Listed(one.name, self._organization, one.base, one.created_at)
            for one in self._snapshot().tuned.values()
            if project in one.projects
        ]

    def has(self, name: str) -> bool:
        """Somebody has it."""
        return name in self._snapshot().tuned

    async def watch(self) -> None:
        """Files of models that are gone go, until cancelled."""
        seen: Mapping[str, Tuned] | None = None
        digests: set[str] = set()
        while True:
            with suppress(Unavailable):
                tuned = self._snapshot().tuned
                if tuned is not seen:
                    digests = {one.digest for one in tuned.values() if one.digest is not None}
                    self._known = {name: known for name, known in self._known.items() if name in tuned}
                    self._there |= digests
                    if seen is None:
                        await self._files.keep(digests)
                    seen = tuned
                if gone := self._there - digests:
                    self._there -= gone
                    await self._files.drop(gone)
            await clock.sleep(LOOK_SECONDS)

    async def _file(self, digest: str) -> Path:
        file = await self._files.file(digest)
        self._there.add(digest)  # its model may be gone by now
        return file

    def _target(self, found: Tuned) -> Target:
        if found.upstream is not None:
            try:
                return self._through(found.upstream, found.name)
            except KeyError:
                raise _gone(found, f"the upstream `{found.upstream}`", f"[upstreams.{found.upstream}]") from None
        base = self._held.get(found.base)
        if base is None or found.digest is None:
            raise _gone(found, f"the model `{found.base}`", f'[models."{found.base}"]')
        digest = found.digest
        backend = Adapted(base, lambda: self._file(digest))
        return Target("local", backend, found.name, self._organization, local=True, base=found.base)


class Adapted:
    """A model of this machine with an adapter over it. What no adapter changes is the base's to refuse."""

    def __init__(self, base: Any, file: Callable[[], Awaitable[Path]]) -> None:
        """file: of the adapter, once it is here."""
        self._base = base
        self._file = file

    async def chat(self, call: Call) -> Answer:
        return await self._answer(self._base.chat, call)

    async def complete(self, call: Call) -> Answer:
        return await self._answer(self._base.complete, call)

    async def _answer(self, answer: Callable[[Call], Awaitable[Answer]], call: Call) -> Answer:
        call.adapter = await self._file()
        try:
            return await answer(call)
        finally:
            call.adapter = None  # the next target may be another model

    def __getattr__(self, name: str) -> Any:
        return getattr(self._base, name)


def _gone(found: Tuned, what: str, section: str) -> ModelNotFound:
    return ModelNotFound(
        f"The model `{found.name}` cannot answer: {what}, which it was made from, is not served here any more. Whoever "
        f"runs this server can add it to homeport.toml again: {section}."
    )
