"""Rate limits and budgets at admission: OpenAI's arithmetic, in one atomic step of the shared store.

A bucket of `limit` a period gives back `limit / period` every second. A request that would overflow it waits
`(used + requested - limit) / (limit / period)` seconds, which is what the published messages of OpenAI say to the last
digit. Used is told in whole units, rounded up, so the numbers of a message always give its wait. Everything that a
request counts against is charged together or not at all; the first limit that it hits gives the message.
"""

import asyncio
import math
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from functools import lru_cache
from typing import NamedTuple, Protocol

import msgspec

from homeport.backends.lines import places_for_lines
from homeport.errors import HomeportError, InsufficientQuota, InvalidRequest, ModelNotFound, RateLimited, Unavailable
from homeport.gateway.tiers import RateLimits, Tiers, longest, pool
from homeport.gateway.tiers import family as family
from homeport.store.shared import TOLERANCE, Charge, Shared, Taken, share_of

#: Callers and models whose charges are remembered; beyond it they are worked out anew.
MOST_PLANS = 10_000
#: Characters of a model's name that name a counter: clients make names up.
LONGEST_NAME = 200
#: When somebody's request will have ended nobody knows.
_SECONDS_TO_A_PLACE = 1.0
_SEEDINGS = 3


class Wanted(msgspec.Struct, frozen=True, gc=False):
    """What admission reserves. money: the worst case in nanodollars; budgets: the counters that it counts against, each
    with its limit. batch: it counts as lines of batches do."""

    requests: int = 1
    tokens: int = 0
    images: int = 0
    audio_megabytes: float = 0.0
    money: int = 0
    budgets: tuple[tuple[str, int], ...] = ()
    batch: bool = False


class Enqueued(NamedTuple):
    """What batches that have not ended may take together, of one pool of models.

    pool: the name under which their tokens are counted. key_id: of the key whose batches count; None: all of the
    project's do. limit: input tokens.
    """

    model: str
    organization: str
    pool: str
    key_id: str | None
    limit: int

    def check(self, enqueued: int, more: int) -> None:
        """enqueued: tokens of the batches that have not ended; more: of the one that is to begin. Raises
        InvalidRequest, in the words in which a batch fails."""
        if enqueued + more > self.limit:
            raise InvalidRequest(
                f"Enqueued token limit reached for {self.model} in organization {self.organization}. Limit: "
                f"{self.limit:,} enqueued tokens. Please try again once some in_progress batches have been completed.",
                code="token_limit_exceeded",
            )


class Caller(Protocol):
    """What limits need to know of a principal. It never changes: whoever has other limits is another principal."""

    @property
    def key_id(self) -> str: ...
    @property
    def project(self) -> str: ...
    @property
    def organization(self) -> str: ...
    @property
    def tier(self) -> str: ...
    @property
    def rate_limits(self) -> Mapping[str, RateLimits]: ...
    @property
    def own_limits(self) -> RateLimits | None: ...


_REQUESTS, _TOKENS, _IMAGES, _AUDIO, _PLACE = range(5)
_MEDIA = (_IMAGES, _AUDIO)


class Measure(NamedTuple):
    """limit: the field of RateLimits. what: the place of its amount in what is wanted. kind: OpenAI's error type.
    smaller: what helps a request that can never fit."""

    limit: str
    counter: str
    text: str
    period: float | None
    what: int
    kind: str
    smaller: str


_NONE = "This limit lets no request through."
_TOKENS_ARE_MANY = "The input or output tokens must be reduced in order to run successfully."
_IMAGES_ARE_MANY = "The number of images must be reduced in order to run successfully."
_AUDIO_IS_LONG = "The audio must be reduced in order to run successfully."
_MINUTE, _DAY = 60.0, 86_400.0
#: In the order in which they are looked at. The error type of images is OpenAI's, that of the last two ours.
MEASURES = (
    Measure("max_requests_per_1_minute", "rpm", "requests per min (RPM)", _MINUTE, _REQUESTS, "requests", _NONE),
    Measure("max_requests_per_1_day", "rpd", "requests per day (RPD)", _DAY, _REQUESTS, "requests", _NONE),
    Measure("max_tokens_per_1_minute", "tpm", "tokens per min (TPM)", _MINUTE, _TOKENS, "tokens", _TOKENS_ARE_MANY),
    Measure("max_tokens_per_1_day", "tpd", "tokens per day (TPD)", _DAY, _TOKENS, "tokens", _TOKENS_ARE_MANY),
    Measure("max_images_per_1_minute", "ipm", "images per min (IPM)", _MINUTE, _IMAGES, "requests", _IMAGES_ARE_MANY),
    Measure(
        "max_audio_megabytes_per_1_minute",
        "audio",
        "audio megabytes per min",
        _MINUTE,
        _AUDIO,
        "requests",
        _AUDIO_IS_LONG,
    ),
    Measure("max_concurrent_requests", "places", "concurrent requests", None, _PLACE, "requests", _NONE),
)


class Found(NamedTuple):
    """A limit that holds for a caller. key_id: of the key whose own it is; None: the project's."""

    measure: Measure
    charge: Charge
    key_id: str | None


class Plan:
    """What a caller's requests are charged to, worked out once.

    settled: what is settled at the end: tokens (`buckets` of them), then places among the concurrent requests.
    """

    __slots__ = (
        "_budgets",
        "_found",
        "_headers",
        "_with_money",
        "buckets",
        "charges",
        "kinds",
        "measures",
        "places",
        "requests",
        "settled",
        "tokens",
    )

    def __init__(self, found: Sequence[tuple[Measure, Charge]]) -> None:
        self._found = found
        self.measures = tuple(measure for measure, _ in found)
        self.charges = tuple(charge for _, charge in found)
        self.kinds = tuple(measure.what for measure in self.measures)
        self.requests = tuple(index for index, what in enumerate(self.kinds) if what == _REQUESTS)
        self.tokens = tuple(index for index, what in enumerate(self.kinds) if what == _TOKENS)
        places = tuple(charge for measure, charge in found if measure.what == _PLACE)
        self.buckets, self.places = len(self.tokens), len(places)
        self.settled = tuple(self.charges[index] for index in self.tokens) + places
        self._headers = tuple(_headers(measure.kind.encode(), charge.limit) for measure, charge in found)
        self._budgets: tuple[tuple[str, int], ...] = ()
        self._with_money = (self.charges, self.settled)

    def with_money(self, budgets: tuple[tuple[str, int], ...]) -> tuple[tuple[Charge, ...], tuple[Charge, ...]]:
        """All charges, and those that are settled, with those of the budgets behind them."""
        if budgets != self._budgets:
            money = tuple(Charge(key, limit, None, seeded=True) for key, limit in budgets)
            self._budgets, self._with_money = budgets, (self.charges + money, self.settled + money)
        return self._with_money

    def shared_out(self, share: int) -> "Plan":
        """As it is while the replicas cannot see each other."""
        return Plan(
            [(measure, charge._replace(limit=share_of(charge.limit, share))) for measure, charge in self._found]
        )

    def for_lines(self, *, counted: bool) -> "Plan":
        """What the lines of its batches are charged to: places, of which they leave some to others, and where they are
        counted all the rest."""
        return Plan(
            [
                (measure, charge._replace(limit=places_for_lines(charge.limit, alone=True)))
                if measure.what == _PLACE
                else (measure, charge)
                for measure, charge in self._found
                if counted or measure.what == _PLACE
            ]
        )

    def headers(self, taken: Taken, amounts: Sequence[float]) -> bytes:
        """The header lines of the tightest limit of requests and of tokens; a limit that is not set has none."""
        lines = b""
        for told in (self.requests, self.tokens):
            if told:
                index = told[0] if len(told) == 1 else self._tightest(told, taken, amounts)
                lines += self._lines(index, taken, amounts)
        return lines

    def _lines(self, index: int, taken: Taken, amounts: Sequence[float]) -> bytes:
        _, limit, period, _ = self.charges[index]
        used, refused = taken.used[index], taken.refused
        if refused is None:
            used += amounts[index]
        remaining = int(limit - used + TOLERANCE)
        if remaining < 0 or (refused == index and amounts[index] <= limit):
            remaining = 0
        reset = used * period / limit if period and limit else 0.0
        return self._headers[index] % (remaining, _go(round(reset * 1000)))

    def _tightest(self, told: Sequence[int], taken: Taken, amounts: Sequence[float]) -> int:
        """The one that refuses, or that has the least left."""
        if taken.refused is not None and taken.refused in told:
            return taken.refused
        return min(told, key=lambda index: self.charges[index].limit - taken.used[index] - amounts[index])

    def refusal(self, taken: Taken, amounts: Sequence[float], *, model: str, organization: str) -> HomeportError:
        index = taken.refused
        assert index is not None
        if index >= len(self.charges):
            return InsufficientQuota()
        measure, limit, requested = self.measures[index], self.charges[index].limit, amounts[index]
        where = f"for {model} in organization {organization} on {measure.text}: Limit {limit}"
        if requested > limit:
            return RateLimited(
                f"Request too large {where}, Requested {requested:.15g}. {measure.smaller}", kind=measure.kind
            )
        used = math.ceil(taken.used[index] - TOLERANCE)
        wait = seconds(limit, measure.period, used, requested)
        return RateLimited(
            f"Rate limit reached {where}, Used {used}, Requested {requested:.15g}. "
            f"Please try again in {duration(wait)}.",
            kind=measure.kind,
            headers=(
                ("retry-after", str(max(1, math.ceil(wait)))),
                ("retry-after-ms", str(max(1, math.ceil(wait * 1000 - TOLERANCE)))),
            ),
        )


class Grant(msgspec.Struct, eq=False):
    """What was reserved for one request. Leaving its `with` block settles it, unless that was done before.

    used: tokens that it really took; cost: what it really cost in nanodollars. None: as much as was reserved.

    What it cost stays reserved until the ledger has it (`written`), so whoever asks the ledger what was spent, and the
    store what is reserved, misses nothing: whatever is killed or forgets meanwhile. Where many records wait for the
    database on disk, one grant stands for all that count against the same budgets (`join`).
    """

    _shared: Shared
    _charges: tuple[Charge, ...]
    _buckets: int
    _places: int
    _session: int
    _strict: bool
    tokens: int
    money: int
    _unwritten: tuple[Charge, ...] = ()
    _spent: int = 0
    used: int | None = None
    cost: int | None = None

    def __enter__(self) -> "Grant":
        return self

    def __exit__(self, *_: object) -> None:
        if self._charges:  # nobody has settled it, so nobody writes a row of it
            self.settle(used=self.used, cost=self.cost)
            self.written()

    @property
    def has_budgets(self) -> bool:
        return len(self._charges) > self._buckets + self._places

    def settle(self, *, used: int | None, cost: int | None) -> None:
        """Exactly once: the second time does nothing."""
        charges, self._charges = self._charges, ()
        if charges:
            self._give(charges, used, cost)

    def settle_later(self) -> Callable[[int, int], None]:
        """The request has ended, but what it took is still being counted: its place is free now, and the rest is
        settled by calling what this returns, once, from any thread, with tokens and nanodollars."""
        charges, buckets, places = self._charges, self._buckets, self._places
        if charges and places:
            self._shared.give(charges[buckets : buckets + places], [1] * places, [0] * places, self._session)
        rest = charges[:buckets] + charges[buckets + places :]
        self._charges, self._places = (), 0
        loop = asyncio.get_running_loop()

        def settle(used: int, cost: int) -> None:
            with suppress(RuntimeError):  # the loop has ended, and with it what this process reserved
                loop.call_soon_threadsafe(self._give, rest, used, cost)

        return settle

    def written(self) -> None:
        """The ledger has it."""
        charges, self._unwritten = self._unwritten, ()
        if charges:
            spent = [self._spent] * len(charges)
            self._shared.give(charges, spent, spent, self._session)

    def join(self, held: "dict[tuple[Charge, ...], Grant]") -> None:
        """What it cost is told the ledger has it together with that of another: of one who counts against the same."""
        first = held.setdefault(self._unwritten, self)
        if first is not self:
            first._spent += self._spent
            self._unwritten = ()

    def _give(self, charges: tuple[Charge, ...], used: int | None, cost: int | None) -> None:
        buckets, places, reserved = self._buckets, self._places, self.tokens
        self._unwritten = charges[buckets + places :]
        self._spent = self.money if cost is None else cost
        money = len(self._unwritten)
        if used is None or (self._strict and used < reserved):
            used = reserved
        if (buckets and used != reserved) or places or money:
            self._shared.give(
                charges,
                [reserved] * buckets + [1] * places + [self.money - self._spent] * money,
                [used] * buckets + [0] * (places + money),
                self._session,
            )


class Limits:
    def __init__(
        self,
        shared: Shared,
        tiers: Tiers,
        *,
        spent: Callable[[str], Awaitable[int]],
        written: Callable[[], Awaitable[None]],
        strict: bool = False,
        lines_count: bool = False,
    ) -> None:
        """spent: nanodollars that the ledger knows to be spent, by the key of a budget's counter; written: waits until
        it has all that has ended here. Asked for when the store does not know the counter yet. strict: what was
        reserved and not used is not given back. lines_count: those of batches take of the limits a minute and a day."""
        self._shared = shared
        self._tiers = tiers
        self._spent = spent
        self._written = written
        self._strict = strict
        self._lines_count = lines_count
        self._plans: dict[tuple[str, str], tuple[Caller, Plan, Plan, Plan, Plan]] = {}
        self._seeding = asyncio.Lock()

    async def admit(self, principal: Caller, model: str, wanted: Wanted, told: list[bytes]) -> Grant:
        """Reserve all of it, or raise RateLimited or InsufficientQuota (429). Adds the `x-ratelimit-*` lines to `told`.

        Raises also ModelNotFound: the tier may not use the model; Unavailable (503): nobody can tell what is used.
        """
        known = self._plans.get((principal.key_id, model))
        if known is None or known[0] is not principal:
            known = self._work_out(principal, model)
        media = wanted.images or wanted.audio_megabytes
        if wanted.batch:
            plan = known[4] if media else known[3]
        else:
            plan = known[2] if media else known[1]
        amounts_of = (wanted.requests, wanted.tokens, wanted.images, wanted.audio_megabytes, 1)
        amounts: list[float] = [amounts_of[what] for what in plan.kinds]
        charges, settled = plan.charges, plan.settled
        if wanted.budgets:
            charges, settled = plan.with_money(wanted.budgets)
            amounts += [wanted.money] * len(wanted.budgets)
        if not charges:
            return Grant(self._shared, (), plan.buckets, plan.places, 0, self._strict, wanted.tokens, wanted.money)
        taken = await self._shared.take(charges, amounts)
        if taken.missing and taken.refused is None:
            taken = await self._take_seeded(charges, amounts)
        seen = plan if taken.share == 1 else plan.shared_out(taken.share)
        lines = seen.headers(taken, amounts)
        if lines:
            told.append(lines)
        if taken.refused is not None:
            raise seen.refusal(taken, amounts, model=model, organization=principal.organization)
        return Grant(
            self._shared,
            settled,
            plan.buckets,
            plan.places,
            taken.session,
            self._strict,
            wanted.tokens,
            wanted.money,
        )

    def check_tier(self, principal: Caller, model: str) -> None:
        """Raises ModelNotFound: it may not use the model."""
        self._of_project(principal, model)

    async def reserve(self, budgets: Sequence[tuple[str, int]], money: int) -> Grant:
        """Money alone, for what is no request. budgets: as Wanted has them. Raises InsufficientQuota, Unavailable."""
        charges = tuple(Charge(key, limit, None, seeded=True) for key, limit in budgets)
        session = 0
        if charges:
            taken = await self._take_seeded(charges, [money] * len(charges))
            if taken.refused is not None:
                raise InsufficientQuota
            session = taken.session
        return Grant(self._shared, charges, 0, 0, session, self._strict, 0, money)

    async def recount(self, counters: Iterable[str]) -> None:
        """Of budgets: there is something in the ledger that nobody has counted. Raises Unavailable."""
        await self._shared.forget(counters)

    async def _take_seeded(self, charges: Sequence[Charge], amounts: Sequence[float]) -> Taken:
        """One at a time: whoever waited finds it done."""
        async with self._seeding:
            for _ in range(_SEEDINGS):
                taken = await self._shared.take(charges, amounts)
                if taken.refused is not None or not taken.missing:
                    return taken
                await self._written()
                for index in taken.missing:
                    key = charges[index].key
                    await self._shared.expect(key)
                    await self._shared.seed(key, await self._spent(key))
        raise Unavailable("Budgets cannot be checked at the moment. Try again soon.", code="limits_unavailable")

    def _work_out(self, principal: Caller, model: str) -> tuple[Caller, Plan, Plan, Plan, Plan]:
        """The caller's plans: of text, with media, and the same of lines of batches."""
        found = [(measure, charge) for measure, charge, _ in self.charges(principal, model)]
        text = [(measure, charge) for measure, charge in found if measure.what not in _MEDIA]
        plan, media = Plan(text), Plan(found)
        counted = self._lines_count
        known = (principal, plan, media, plan.for_lines(counted=counted), media.for_lines(counted=counted))
        if len(model) <= LONGEST_NAME:
            if len(self._plans) >= MOST_PLANS:
                self._plans.clear()
            self._plans[principal.key_id, model] = known
        return known

    def charges(self, principal: Caller, model: str) -> Sequence[Found]:
        """In the order in which they are looked at. Raises ModelNotFound: the tier may not use the model."""
        name = pool(model)[:LONGEST_NAME]
        scopes: list[tuple[str, str, str | None, RateLimits]]
        scopes = [("project", principal.project, None, self._of_project(principal, model))]
        if principal.own_limits is not None:
            scopes.append(("key", principal.key_id, principal.key_id, principal.own_limits))
        return [
            Found(measure, Charge(f"{measure.counter}:{scope}:{subject}:{name}", limit, measure.period), key_id)
            for measure in MEASURES
            for scope, subject, key_id, of_scope in scopes
            if (limit := getattr(of_scope, measure.limit)) is not None
        ]

    async def look(self, charges: Sequence[Charge]) -> Taken:
        """How much is used, and nothing is taken: an amount of 0 always fits. Raises Unavailable."""
        taken = await self._shared.take(charges, [0] * len(charges))
        return await self._take_seeded(charges, [0] * len(charges)) if taken.missing else taken

    def _of_project(self, principal: Caller, model: str) -> RateLimits:
        """Raises ModelNotFound: the tier may not use the model."""
        if not self._tiers.allows(principal.tier, model):
            raise ModelNotFound.named(model)
        limits = self._tiers.limits(principal.tier, model)
        own = longest(pool(model), principal.rate_limits)
        return limits if own is None else principal.rate_limits[own].over(limits)

    def enqueued(self, principal: Caller, model: str) -> Sequence[Enqueued]:
        """The limits of batches of that model: the project's, and the key's own. Raises ModelNotFound."""
        found = [(None, self._of_project(principal, model)), (principal.key_id, principal.own_limits or RateLimits())]
        return [
            Enqueued(model, principal.organization, pool(model), key_id, limits.batch_1_day_max_input_tokens)
            for key_id, limits in found
            if limits.batch_1_day_max_input_tokens is not None
        ]


def seconds(limit: int, period: float | None, used: float, requested: float) -> float:
    """Until `requested` fits; 0 or less when it fits now."""
    if period is None:
        return _SECONDS_TO_A_PLACE
    return (used + requested - limit) / (limit / period)


def duration(seconds: float) -> str:
    """A Go duration, as the reset headers are written: `0s`, `120ms`, `1s`, `1m26.4s`, `6m0s`, `1h0m0s`."""
    return _go(round(seconds * 1000)).decode()


@lru_cache(maxsize=4096)
def _go(milliseconds: int) -> bytes:
    if milliseconds < 1000:
        return b"%dms" % milliseconds if milliseconds else b"0s"
    minutes, rest = divmod(milliseconds, 60_000)
    hours, minutes = divmod(minutes, 60)
    text = f"{rest / 1000:g}s"
    if hours:
        return f"{hours}h{minutes}m{text}".encode()
    return (f"{minutes}m{text}" if minutes else text).encode()


def _headers(kind: bytes, limit: int) -> bytes:
    """With places for what remains and for when all of it is back."""
    return b"x-ratelimit-limit-%b: %d\r\nx-ratelimit-remaining-%b: %%d\r\nx-ratelimit-reset-%b: %%b\r\n" % (
        kind,
        limit,
        kind,
        kind,
    )
