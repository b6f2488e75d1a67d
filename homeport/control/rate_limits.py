"""Rate limits of projects: the tier's, unless the project has its own for a family of models."""

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Protocol

import msgspec
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from homeport.control import pages, projects
from homeport.control.changes import Actor, Change, Changes
from homeport.control.pages import Window
from homeport.errors import NotFound
from homeport.store.tables import rate_limits
from homeport.wire.admin.rate_limits import (
    ProjectRateLimit,
    ProjectRateLimitOrigin,
    ProjectRateLimitUpdateRequest,
    Tier,
    TierList,
)
from homeport.wire.fields import Deleted, Page

PREFIX = "rl-"
_MODEL = re.compile(r"\S{1,256}")
#: The limits of a row: members of `project.rate_limit`.
FIELDS = ProjectRateLimitUpdateRequest.__struct_fields__


class Tiers(Protocol):
    """What a project may do that has no limits of its own. A tier that is None is the settings'."""

    @property
    def names(self) -> Sequence[str]: ...

    @property
    def default(self) -> str:
        """Of projects that have none, by now."""
        ...

    def families(self, tier: str | None) -> Iterable[str]:
        """Those with limits in the tier."""
        ...

    def family(self, model: str) -> str | None:
        """Where a model's limits are found (`gpt-4o-2024-08-06`: gpt-4o); None: nothing here has that name."""
        ...

    def limits(self, tier: str | None, family: str) -> Mapping[str, int]:
        """Members of `project.rate_limit`; absent: no limit."""
        ...


class RateLimits:
    def __init__(self, changes: Changes, tiers: Tiers) -> None:
        self._changes = changes
        self._tiers = tiers

    async def list(self, project_id: str, window: Window) -> Page[ProjectRateLimit]:
        """By name."""
        async with self._changes.database.read() as connection:
            project = await projects.find(connection, project_id)
            own = await _own(connection, project_id)
        rows, has_more = self._page(project.tier, own, window)
        return Page.of([self._object(project.tier, name, own.get(name)) for name in rows], has_more=has_more)

    async def origins(self, project_id: str, window: Window) -> Page[ProjectRateLimitOrigin]:
        """Where the same come from."""
        async with self._changes.database.read() as connection:
            project = await projects.find(connection, project_id)
            own = await _own(connection, project_id)
        rows, has_more = self._page(project.tier, own, window)
        return Page.of([self._origin(project.tier, name, own.get(name)) for name in rows], has_more=has_more)

    def tiers(self) -> TierList:
        return TierList([Tier(name, default=name == self._tiers.default) for name in self._tiers.names])

    async def modify(
        self, actor: Actor, project_id: str, rate_limit_id: str, asked: ProjectRateLimitUpdateRequest
    ) -> ProjectRateLimit:
        """What is left out stays. Raises NotFound: no such model; a dated snapshot has the limits of its family."""
        requested = {name: value for name in FIELDS if (value := getattr(asked, name)) is not None}
        async with self._changes.database.read() as connection:
            project = await projects.find_active(connection, project_id)
            own = await _own(connection, project_id)
        name = self._name(rate_limit_id, project.tier, own)
        if not requested:
            return self._object(project.tier, name, own.get(name))
        async with self._changes.change(actor) as change:
            project = await projects.find_active(change.connection, project_id)
            await _set(change, project_id, name, requested)
            details = {"changes_requested": requested}
            change.log("rate_limit.updated", rate_limit_id, project=(project_id, project.name), details=details)
            own = await _own(change.connection, project_id)
            return self._object(project.tier, name, own[name])

    async def delete(self, actor: Actor, project_id: str, rate_limit_id: str) -> Deleted:
        """Back to the tier's. Raises NotFound: the project has no limits of its own for the model."""
        async with self._changes.change(actor) as change:
            project = await projects.find_active(change.connection, project_id)
            own = await _own(change.connection, project_id)
            name = rate_limit_id.removeprefix(PREFIX)
            if rate_limit_id == name or name not in own:
                raise NotFound(f"The project has no rate limit {rate_limit_id!r} of its own.", param="rate_limit_id")
            await change.connection.execute(sa.delete(rate_limits).where(rate_limits.c.seq == own[name]["seq"]))
            change.log("rate_limit.deleted", rate_limit_id, project=(project_id, project.name))
        return Deleted("project.rate_limit.deleted", rate_limit_id)

    def _name(self, rate_limit_id: str, tier: str | None, own: Mapping[str, Any]) -> str:
        name = rate_limit_id.removeprefix(PREFIX)
        if rate_limit_id != name and _MODEL.fullmatch(name):
            family = self._tiers.family(name)
            if name in own or name == family or name in self._tiers.families(tier):
                return name
            if family is not None:
                raise NotFound(
                    f"No rate limit found with id {rate_limit_id!r}. {name!r} has the limits of its family: "
                    f"{PREFIX + family!r}.",
                    param="rate_limit_id",
                )
        raise NotFound(f"No rate limit found with id {rate_limit_id!r}.", param="rate_limit_id")

    def _page(self, tier: str | None, own: Iterable[str], window: Window) -> tuple[Sequence[str], bool]:
        return pages.cut(_part(sorted({*self._tiers.families(tier), *own}), window), window)

    def _origin(self, tier: str | None, name: str, own: sa.RowMapping | None) -> ProjectRateLimitOrigin:
        of_tier = dict(self._tiers.limits(tier, name))
        return ProjectRateLimitOrigin(PREFIX + name, name, of_tier, _set_in(own) if own is not None else None)

    def _object(self, tier: str | None, name: str, own: sa.RowMapping | None) -> ProjectRateLimit:
        limits = dict(self._tiers.limits(tier, name))
        limits |= _set_in(own) if own is not None else {}
        return msgspec.convert({"id": PREFIX + name, "model": name, **limits}, ProjectRateLimit)


async def _own(connection: AsyncConnection, project_id: str) -> dict[str, sa.RowMapping]:
    """Model -> row."""
    query = sa.select(rate_limits).where(rate_limits.c.project_id == project_id)
    return {row["model"]: row for row in (await connection.execute(query)).mappings()}


async def _set(change: Change, project_id: str, name: str, values: dict[str, int]) -> None:
    where = (rate_limits.c.project_id == project_id, rate_limits.c.model == name)
    if await change.connection.scalar(sa.select(rate_limits.c.seq).where(*where)) is None:
        await change.connection.execute(rate_limits.insert().values(project_id=project_id, model=name, **values))
    else:
        await change.connection.execute(sa.update(rate_limits).where(*where).values(**values))


def _set_in(row: sa.RowMapping) -> dict[str, int]:
    return {field: row[field] for field in FIELDS if row[field] is not None}


def _part(names: Sequence[str], window: Window) -> Sequence[str]:
    """One more than the window is wide, in its direction. A name is its own place. Raises InvalidRequest."""
    if window.after is not None:
        after = _place("after", window.after)
        names = [name for name in names if name > after]
    if window.before is not None:
        before = _place("before", window.before)
        names = [name for name in names if name < before]
    return names[::-1][: window.limit + 1] if window.backwards else names[: window.limit + 1]


def _place(param: str, value: str) -> str:
    if not value.startswith(PREFIX):
        raise pages.unknown_place(param, value)
    return value.removeprefix(PREFIX)
