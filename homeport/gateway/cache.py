"""Answers that are given again: to the same question, from the same project, of the same backends.

    cache_policy   is it for this request?             cache_wish   what does the request say of it?
    cache_key      is it the same question?            kept         where answers are, and which may be
    flights        is somebody asking it just now?     semantic     does one mean the same?
    cache_items    embeddings, which are kept by the input

An answer from here costs nothing and counts as one request. Its tokens are given back to the limits, which are there
for those who generate; its ledger entry says what it saved.
"""

from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, NamedTuple

from homeport.backends.capabilities import Answer, Call, Frame, Header
from homeport.errors import HomeportError, NotCached, UpstreamRefused
from homeport.gateway import cache_key, endpoints
from homeport.gateway.attachments import outlasting
from homeport.gateway.cache_items import Items
from homeport.gateway.cache_key import Question
from homeport.gateway.cache_policy import Policy
from homeport.gateway.cache_wish import NO_WISH, Wish, wish
from homeport.gateway.flights import Flight, Flights, Found, Work
from homeport.gateway.kept import Kept, Store, is_whole
from homeport.gateway.keyring import Principal
from homeport.gateway.pipeline import Step
from homeport.gateway.routing import Target
from homeport.wire.images import has_addresses

if TYPE_CHECKING:
    from homeport.gateway.ledger import Entry
    from homeport.gateway.semantic import Place, Semantic

_BYPASS = b"x-homeport-cache: bypass\r\n"
_MISS = b"x-homeport-cache: miss\r\n"
_PARTIAL = b"x-homeport-cache: partial; kept=%d/%d\r\n"
_REFRESHED = b"x-homeport-cache: refreshed\r\n"
_AUDIO = (endpoints.TRANSCRIPTIONS.name, endpoints.TRANSLATIONS.name, endpoints.SPEECH.name)
_IMAGES = (endpoints.GENERATIONS.name, endpoints.EDITS.name, endpoints.VARIATIONS.name)
_KINDS = (endpoints.CHAT.name, endpoints.COMPLETIONS.name, endpoints.EMBEDDINGS.name, *_AUDIO, *_IMAGES)
#: Failures of others' requests that one waits for, before it is one's own.
_FAILURES = 2
#: Statuses of refusals that may be over soon.
_PASSING = (408, 409, 429)
#: Callers and models whose rule is remembered; beyond it they are worked out anew.
_MOST_RULES = 4096


@dataclass(slots=True)
class Counts:
    """Since the start. shared: of the hits, those that joined a request that ran; semantic: those of another question
    that means the same. partial: requests of which a part was kept. bypassed: requests that the cache is for, and that
    went past it."""

    hits: int = 0
    shared: int = 0
    semantic: int = 0
    partial: int = 0
    misses: int = 0
    refreshed: int = 0
    bypassed: int = 0


class Rule(NamedTuple):
    """For one caller and model. on: without being asked. forwards: the request's own headers go to a backend."""

    principal: Principal
    targets: Sequence[Target]
    on: bool
    ttl: float
    scope: bytes
    forwards: bool


class Cache:
    """A step of the straight line."""

    def __init__(
        self,
        ask: Step,
        policy: Policy,
        store: Store,
        configuration: Callable[[Target], bytes],
        semantic: "Semantic | None" = None,
    ) -> None:
        """ask: the next step. configuration: what makes two targets of the same name another backend."""
        self.counts = Counts()
        self.store = store
        self._semantic = semantic
        self._ask = ask
        self._policy = policy
        self._configuration = configuration
        self._flights = Flights(max_bytes=store.max_bytes, largest=store.largest)
        self._rules: dict[tuple[str, str, str, str, str], Rule] = {}

    def answer(self, entry: "Entry") -> Awaitable[Answer]:
        """Who does not use it does not pay for it."""
        if entry.call.cache is None and not self._policy.unasked:
            return self._ask(entry)
        return self._answer(entry)

    async def clear(self) -> None:
        """Forget everything, here and in Redis. Raises Unavailable: Redis cannot be reached."""
        if self._semantic is not None:
            self._semantic.clear()
        cache_key.forget()
        await self.store.clear()

    def told(self) -> dict[str, int]:
        """How it is in this process, and what it has done since the start. running: requests that are being asked, or
        wait for one that is."""
        return {
            "entries": len(self.store),
            "bytes": self.store.bytes,
            "max_bytes": self.store.max_bytes,
            "running": self._flights.listeners,
            **asdict(self.counts),
        }

    async def close(self) -> None:
        await self._flights.close()

    async def _answer(self, entry: "Entry") -> Answer:
        call = entry.call
        wanted = NO_WISH if call.cache is None else wish(*call.cache)
        rule = self._rule(entry)
        if not rule.on and not (wanted.on and self._policy.by_request):
            return await self._past(entry, wanted, told=wanted.on)
        headers = call.headers if rule.forwards else ()
        asked = key = None
        if wanted.write and call.endpoint in _KINDS:
            asked, key = cache_key.asked(call, rule.scope, headers)
        if asked is None or key is None or asked.get("store"):
            return await self._past(entry, wanted, told=True)
        asking = _Asking(call.endpoint, key, asked, rule, wanted, headers)
        if call.endpoint == endpoints.EMBEDDINGS.name:
            asking.items = Items.of(self.store, rule.scope, asked, headers, wanted, rule.ttl)
            if asking.items is None:
                return await self._past(entry, wanted, told=True)
        return await self._kept_or_asked(entry, asking)

    async def _past(self, entry: "Entry", wanted: Wish, *, told: bool) -> Answer:
        if wanted.only:
            raise _not_cached()
        if told:
            self.counts.bypassed += 1
            entry.call.told.append(_BYPASS)
        return await self._ask(entry)

    async def _kept_or_asked(self, entry: "Entry", asking: "_Asking") -> Answer:
        call, wanted = entry.call, asking.wanted
        failures = 0
        while True:
            kept = self._near(asking) if wanted.read else None
            if kept is not None and kept.age <= wanted.max_age:
                return self._again(entry, kept)
            flight = self._flights.find(asking.key) if wanted.read else None
            if flight is None:
                return await self._asked(entry, asking)
            try:
                answer = await Answer.begun(flight.listen(entry), stream=call.stream)
            except HomeportError as error:
                failures += 1
                if failures == _FAILURES or _is_of_the_request(error):
                    raise
                continue
            if flight.found is None or wanted.takes(flight.found):
                self._joined(entry, flight)
                return answer
            await answer.aclose()

    def _near(self, asking: "_Asking") -> Found | None:
        """What is kept in this process."""
        if asking.items is not None:
            return _whole(asking.items) if asking.items.near() else None
        kept = self.store.near(asking.key)
        return Found(kept.frames(), _hit(kept.age, kept.request_id), kept.age) if kept is not None else None

    def _again(self, entry: "Entry", found: Found) -> Answer:
        self._found(entry, found)
        entry.cache_hit = True
        first, *rest = found.frames
        return Answer(first, _each(rest) if rest else None)

    def _joined(self, entry: "Entry", flight: Flight) -> None:
        if not entry.cache_hit:  # whoever asked has left, and this request pays in its place
            self._missed(entry, _MISS)
            return
        if flight.found is not None:
            self._found(entry, flight.found)
        else:
            self.counts.hits += 1
            self.counts.shared += 1
            entry.call.told.append(_hit(0, flight.request_id))

    async def _asked(self, entry: "Entry", asking: "_Asking") -> Answer:
        """By this request, for everybody who asks the same meanwhile."""
        wanted = asking.wanted
        if wanted.only:
            found = await self._find(asking)
            if found is None:
                raise _not_cached()
            return self._again(entry, found)
        work = Work(
            find=lambda: self._find(asking),
            ask=lambda: self._ask(entry) if asking.items is None else asking.items.ask(entry, self._ask),
            keep=lambda frames: self._keep(entry, asking, frames),
            begin=lambda: outlasting(entry.call),
        )
        # What runs in the background waits behind everybody: nobody is to wait with it.
        joinable = not entry.call.background and self._flights.find(asking.key) is None
        flight = self._flights.begin(asking.key, entry, work, joinable=joinable)
        answer = await Answer.begun(flight.listen(entry), stream=entry.call.stream)
        if flight.found is not None:
            self._found(entry, flight.found)
        elif asking.items is not None and asking.items.kept:
            self.counts.partial += 1
            entry.call.told.append(_PARTIAL % (asking.items.kept, len(asking.items)))
        else:
            self._missed(entry, _MISS if wanted.read else _REFRESHED)
        return answer

    def _found(self, entry: "Entry", found: Found) -> None:
        self.counts.hits += 1
        self.counts.semantic += found.alike
        entry.call.told.append(found.told)

    def _missed(self, entry: "Entry", told: bytes) -> None:
        if told is _MISS:
            self.counts.misses += 1
        else:
            self.counts.refreshed += 1
        entry.call.told.append(told)

    async def _find(self, asking: "_Asking") -> Found | None:
        """What is kept elsewhere, or answers a question that means the same."""
        wanted, rule = asking.wanted, asking.rule
        if asking.items is not None:
            return _whole(asking.items) if await asking.items.far() else None
        if wanted.read:
            kept = await self.store.far(asking.key, rule.ttl)
            if kept is not None and kept.age <= wanted.max_age:
                return Found(kept.frames(), _hit(kept.age, kept.request_id), kept.age)
        if self._semantic is None or not wanted.alike:
            return None
        turn = self._semantic.turn(asking.asked) if asking.endpoint == endpoints.CHAT.name else None
        bucket = cache_key.key(rule.scope, turn.rest, asking.headers) if turn is not None else None
        if turn is None or bucket is None:
            return None
        asking.place = await self._semantic.place(turn, bucket, asking.key)
        return await self._alike(self._semantic, asking) if asking.place is not None and wanted.read else None

    async def _alike(self, semantic: "Semantic", asking: "_Asking") -> Found | None:
        assert asking.place is not None
        for near in semantic.near(asking.place):
            kept = self.store.near(near.key) or await self.store.far(near.key, asking.rule.ttl)
            if kept is None:
                semantic.forget(near.key)
            elif kept.age <= asking.wanted.max_age:
                return Found(kept.frames(), _hit(kept.age, kept.request_id, near.similarity), kept.age, alike=True)
        return None

    def _keep(self, entry: "Entry", asking: "_Asking", frames: Sequence[Frame]) -> Awaitable[None] | None:
        """Whole, successful answers of the target that is asked first: another one stands in for it while it is
        away, and no longer."""
        if asking.items is not None:
            return asking.items.share()
        if entry.target is not entry.targets[0] or not asking.is_answered(frames, entry.call):
            return None
        kept = Kept.of(frames, entry.call.request_id)
        self.store.keep(asking.key, kept, asking.rule.ttl)
        if self._semantic is not None and asking.place is not None:
            self._semantic.remember(asking.place)
        return self.store.share(asking.key, kept, asking.rule.ttl)

    def _rule(self, entry: "Entry") -> Rule:
        principal, name, endpoint, targets = entry.principal, entry.call.name, entry.endpoint.name, entry.targets
        place = principal.key_id, name, endpoint, targets[0].name, targets[0].model
        rule = self._rules.get(place)
        if rule is not None and rule.principal is principal and rule.targets == targets:
            return rule
        rule = Rule(
            principal,
            targets,
            self._policy.uses(principal.project, name),
            self._policy.ttl(name),
            cache_key.scope(principal, endpoint, name, targets, [self._configuration(target) for target in targets]),
            any(not target.local for target in targets),
        )
        if len(self._rules) >= _MOST_RULES:
            self._rules.clear()
        self._rules[place] = rule
        return rule


@dataclass(slots=True)
class _Asking:
    """One question, and how it is asked. headers: those that are passed on. place: among those that mean the same.
    items: of embeddings."""

    endpoint: str
    key: bytes
    asked: Question
    rule: Rule
    wanted: Wish
    headers: Sequence[Header]
    place: "Place | None" = None
    items: Items | None = None

    def is_answered(self, frames: Sequence[Frame], call: Call) -> bool:
        if self.endpoint in _AUDIO:
            return True  # what breaks off is an error
        if self.endpoint in _IMAGES:
            return call.stream or not has_addresses(frames[0].data)  # an upstream's, which expire
        choices = self.asked.get("n")
        return is_whole(frames, stream=call.stream, choices=choices if isinstance(choices, int) else 1)


def _is_of_the_request(error: HomeportError) -> bool:
    """A fault that the same request has again."""
    status = error.upstream_status if isinstance(error, UpstreamRefused) else error.status
    return 400 <= status < 500 and status not in _PASSING


def _whole(items: Items) -> Found:
    return Found([items.frame()], _hit(items.age, items.request_id), items.age)


async def _each(frames: Sequence[Frame]) -> AsyncGenerator[Frame, None]:
    for frame in frames:
        yield frame


def _hit(age: int, request_id: str, similarity: float | None = None) -> bytes:
    """request_id: of the request that was answered first. similarity: of its question, when it is another one."""
    label = b"hit" if similarity is None else b"semantic; similarity=%.3f" % similarity
    return b"x-homeport-cache: %b\r\nage: %d\r\nx-homeport-original-request-id: %b\r\n" % (
        label,
        age,
        request_id.encode(),
    )


def _not_cached() -> NotCached:
    return NotCached(
        "Nothing is kept that answers this request, and with 'only-if-cached' nobody is asked. Leave that out of the "
        "'Cache-Control' header to get a new answer.",
        headers=(("x-should-retry", "false"),),
    )
