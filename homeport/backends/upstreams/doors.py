"""The doors of an upstream: its addresses, each with its credential, used as one pool.

A request takes a door that is ready for its family of models: none that fails (breaker), that has asked to be left
alone (`Retry-After`), or whose rate limit has no room (pacing). Of those that are ready, the one with the most room and
the least to do. When none is, it waits if that is short, in the order of arrival, or is refused at once. The line of a
batch waits behind everybody else, for as long as it takes, and leaves an eighth of a rate limit to them.
"""

import logging
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

from homeport import clock
from homeport.backends.capabilities import Call, Header
from homeport.backends.lines import SPARE
from homeport.backends.upstreams import breaker
from homeport.backends.upstreams.breaker import Breaker
from homeport.backends.upstreams.client import Client
from homeport.backends.upstreams.pacing import Room
from homeport.errors import HomeportError, UpstreamFailed, UpstreamRefused
from homeport.settings import Upstream
from homeport.wire.envelope import CHARACTERS_PER_TOKEN
from homeport.wire.models import family

log = logging.getLogger("homeport.upstreams")

#: Families whose state is remembered. Clients choose names where an upstream answers to every one.
MOST_FAMILIES = 1000
#: Seconds for which a door that failed once, or refused without a word on when, is the last choice.
AVOID_SECONDS = 1.0
#: Seconds after which a line of a batch looks again, at least and at most: others come and go meanwhile.
SOONEST_LOOK, LATEST_LOOK = 0.1, 5.0
#: Tokens that an answer is reckoned as where the request does not limit it, as OpenAI's limits do.
_DEFAULT_ANSWER = 16


@dataclass(slots=True)
class Door:
    """number: from 1, in the order of the settings. refused: its credential was, the last time."""

    number: int
    client: Client
    refused: bool = False


class State(NamedTuple):
    """How a door is for a family of models, for whoever watches. seconds: until it is asked again, where it is not."""

    upstream: str
    door: int
    family: str
    state: breaker.State | Literal["resting", "refused"]
    seconds: float


class Crowd(NamedTuple):
    """Requests of an upstream. waiting: for a connection, or for its rate limit."""

    busy: int
    waiting: int


class Way:
    """Through one door, for one family of models.

    rests_until: the upstream has asked to be left alone; away: not for a limit, but because it is not available.
    avoid_until: others are asked first. shaken: something of that is to be looked at when a request has succeeded.
    turn: grows with each request, so that equals take turns.
    """

    __slots__ = ("avoid_until", "away", "breaker", "door", "rests_until", "room", "shaken", "turn")

    def __init__(self, door: Door, breaker: Breaker) -> None:
        self.door = door
        self.breaker = breaker
        self.room: Room | None = None
        self.rests_until = 0.0
        self.away = False
        self.avoid_until = 0.0
        self.shaken = False
        self.turn = 0

    def wait(self, tokens: int, now: float, *, spare: float = 0.0) -> float:
        """Seconds until a request of so many tokens may go. spare: a share of the limits that is left then."""
        wait = max(self.breaker.wait(now), self.rests_until - now)
        return max(wait, self.room.wait(tokens, now, spare=spare)) if self.room is not None else wait

    def blocked(self, now: float) -> bool:
        """By more than a lack of room."""
        return self.breaker.wait(now) > 0 or self.rests_until > now

    def rank(self, now: float) -> tuple[bool, bool, float, int, int]:
        """The lowest is taken: one that is due to be tried again, then one with nothing against it, then by room in
        tenths, by what it has to do, by whose turn it is."""
        share = self.room.share(now) if self.room is not None else 1.0
        closed, avoided = self.breaker.open_until is None, self.avoid_until > now
        return closed, avoided, -round(share * 10), self.door.client.load, self.turn


class Tried(NamedTuple):
    """A way that a request has gone, and how that ended."""

    way: Way
    problem: HomeportError


class Doors:
    """calm: model -> the way of an upstream's only door, as long as there is nothing to think about."""

    def __init__(self, upstream: str, clients: Sequence[Client], settings: Upstream) -> None:
        self.calm: dict[str, Way] = {}
        self._upstream = upstream
        self._doors = [Door(number, client) for number, client in enumerate(clients, 1)]
        self._settings = settings
        self._families: dict[str, tuple[Way, ...]] = {}
        self._waiting = 0
        self._turns = 0

    @property
    def clients(self) -> list[Client]:
        return [door.client for door in self._doors]

    def take(self, call: Call, tried: Sequence[Tried] = ()) -> Way | None:
        """The best way that is ready; None when none is. tried: not one of these."""
        if call.background and self._waiting:
            return None
        tokens, now, gone = _tokens(call), clock.monotonic(), [one.way for one in tried]
        spare = _spare(call)
        ready = [way for way in self._ways(call.model) if way not in gone and way.wait(tokens, now, spare=spare) <= 0]
        if not ready:
            return None
        way = ready[0] if len(ready) == 1 else min(ready, key=lambda way: way.rank(now))
        if way.room is not None:
            way.room.take(tokens)
        return self._taken(way, now)

    async def turn(self, call: Call) -> Way:
        """When none is ready: wait for the first that will be. Raises UpstreamFailed, UpstreamRefused at once when that
        is too long, or when too many wait."""
        if call.background:
            return await self._turn_of_batch(call)
        tokens, now = _tokens(call), clock.monotonic()
        latest = now + min(self._settings.wait_seconds, call.patience)
        while True:
            ways = self._ways(call.model)
            way = min(ways, key=lambda way: (way.breaker.wait(now) > 0, way.wait(tokens, now)))
            wait = way.wait(tokens, now)
            if way.breaker.wait(now) > 0:
                raise self._left_alone("keeps failing", min(way.breaker.wait(now) for way in ways))
            if now + wait > latest or (wait > 0 and self._waiting >= self._settings.queue):
                if way.away and way.rests_until - now >= wait:
                    raise self._left_alone("is not available", wait)
                raise self._limited(way, call, wait, now)
            went = await self._wait(way, tokens, wait)
            now = clock.monotonic()
            if went:
                return self._taken(way, now)

    async def _turn_of_batch(self, call: Call) -> Way:
        """Nothing is taken in advance, so whoever comes meanwhile goes before it. It is not told that an upstream is
        left alone either, but waits for that to be over. Raises UpstreamFailed, UpstreamRefused: its patience is."""
        tokens, now = _tokens(call), clock.monotonic()
        latest = now + call.patience
        while (way := self.take(call)) is None:
            waits = {way: way.wait(tokens, now, spare=_spare(call)) for way in self._ways(call.model)}
            way = min(waits, key=lambda way: waits[way])
            wait = max(SOONEST_LOOK, waits[way])
            if now + wait > latest:
                raise self._left_alone("has no room", wait) if way.blocked(now) else self._limited(way, call, wait, now)
            await clock.sleep(min(wait, LATEST_LOOK))
            now = clock.monotonic()
        return way

    async def _wait(self, way: Way, tokens: int, seconds: float) -> bool:
        """What is waited for is taken in advance: whoever comes later waits for what will be there after that.

        False: in the meantime the way has been blocked.
        """
        room = way.room if way.room is not None else Room()
        room.take(tokens)
        room.owe(tokens, times=1)
        self._waiting += 1
        free = False
        try:
            await clock.sleep(seconds)
            free = not way.blocked(clock.monotonic())
        finally:
            self._waiting -= 1
            room.owe(tokens, times=-1)
            if not free:
                room.give_back(tokens)
        return free

    def learn(self, way: Way, headers: Sequence[Header]) -> None:
        """What an answer tells of the limits."""
        if way.room is None:
            way.room = Room(self._settings.rest_seconds)
            self._think_about(way)
        way.room.told(headers, clock.monotonic())

    def succeeded(self, way: Way) -> None:
        """For a way that is shaken."""
        now = clock.monotonic()
        way.breaker.succeeded()
        way.door.refused = False
        way.shaken = not way.breaker.well or way.rests_until > now or way.avoid_until > now

    def _think_about(self, way: Way) -> None:
        for model in [model for model, calm in self.calm.items() if calm is way]:
            del self.calm[model]

    def another(self, way: Way, call: Call, problem: HomeportError, tried: list[Tried]) -> Way:
        """Another way for the same request, at once: where nothing was done for it and the others may know better.
        Raises the problem when there is none; of those of several doors the one that will be over first. tried: gets
        longer."""
        elsewhere = self._failed(way, problem)
        tried.append(Tried(way, problem))
        following = self.take(call, tried) if elsewhere else None
        if following is not None:
            log.info(
                "%s: another door of %s than %d: %s", call.request_id, self._upstream, way.door.number, _word(problem)
            )
            return following
        try:
            raise _over_first(tried) if elsewhere else problem
        finally:
            tried.clear()
            del problem  # its traceback leads here

    def _failed(self, way: Way, problem: HomeportError) -> bool:
        """Note it. True: this door is at fault, and nothing was done behind it."""
        now = clock.monotonic()
        status = problem.upstream_status if isinstance(problem, UpstreamRefused) else 0
        if 0 < status < 429 or 429 < status < 500:
            if way.shaken:
                self.succeeded(way)  # it has an opinion, so it lives
            return False
        self._think_about(way)
        way.shaken = True
        probed = way.breaker.open_until is not None
        if problem.again and status:
            way.rests_until = now + min(problem.again, self._settings.rest_seconds)
            way.away = status != 429
        if status == 429:
            way.breaker.succeeded()
            seconds = self._settings.rest_seconds if problem.again is None else AVOID_SECONDS
            way.avoid_until = now + seconds
            return True
        if problem.code == "upstream_authentication_failed":
            self._refused(way.door)
            way.avoid_until = now + self._settings.rest_seconds
            return True
        way.avoid_until = now + AVOID_SECONDS
        if problem.code == "upstream_busy":
            return True
        way.breaker.failed(now)
        if way.breaker.open_until is not None and not probed:
            wait = way.breaker.wait(now)
            log.warning("%s, door %d: left alone for %g s: %s", self._upstream, way.door.number, wait, _word(problem))
        return problem.code == "upstream_unavailable" or (probed and status >= 500)

    def _refused(self, door: Door) -> None:
        if not door.refused and len(self._doors) > 1:
            log.warning(
                "The upstream %r does not accept credential %d of %d. The others are used; it is tried again every "
                "%g s. Replace it in upstreams.%s.",
                *(self._upstream, door.number, len(self._doors), self._settings.rest_seconds, self._upstream),
            )
        door.refused = True

    def crowd(self) -> Crowd:
        pools = {client.pool for client in self.clients}
        load, in_line = sum(pool.load for pool in pools), sum(pool.waiting for pool in pools)
        return Crowd(load - in_line, in_line + self._waiting)

    def addresses(self) -> list[str]:
        """Of each, in their order."""
        return [client.base_url for client in self.clients]

    def states(self) -> list[State]:
        """Of every door that something is known of."""
        now = clock.monotonic()
        return [self._state(way, name, now) for name, ways in self._families.items() for way in ways]

    def _state(self, way: Way, name: str, now: float) -> State:
        state: breaker.State | Literal["resting", "refused"] = way.breaker.state(now)
        wait = max(0.0, way.breaker.wait(now), way.rests_until - now)
        if state == "closed" and way.door.refused:
            state = "refused"
        elif state == "closed" and wait > 0:
            state = "resting"
        return State(self._upstream, way.door.number, name, state, wait)

    def _ways(self, model: str) -> tuple[Way, ...]:
        name = family(model)
        ways = self._families.get(name)
        if ways is None:
            if len(self._families) >= MOST_FAMILIES:
                self._families.clear()
                self.calm.clear()
            most, longest = self._settings.failures, self._settings.rest_seconds
            ways = tuple([Way(door, Breaker(most=most, longest=longest)) for door in self._doors])
            self._families[name] = ways
        if len(ways) == 1 and not ways[0].shaken and ways[0].room is None and len(self.calm) < MOST_FAMILIES:
            self.calm[model] = ways[0]
        return ways

    def _taken(self, way: Way, now: float) -> Way:
        way.breaker.asked(now)
        self._turns += 1
        way.turn = self._turns
        return way

    def _left_alone(self, why: str, wait: float) -> UpstreamFailed:
        return UpstreamFailed(
            f"The upstream {self._upstream!r} {why} and is left alone for now. You can retry your request.",
            headers=_retry_after(wait),
        )

    def _limited(self, way: Way, call: Call, wait: float, now: float) -> UpstreamRefused:
        for_tokens = way.room is not None and way.room.tokens.wait(_tokens(call), now) >= wait
        error: dict[str, object] = {
            "message": f"Rate limit reached for {call.model} at the upstream {self._upstream!r}. Please try again in "
            f"{wait:.3f}s.",
            "type": "tokens" if for_tokens else "requests",
            "param": None,
            "code": "rate_limit_exceeded",
        }
        return UpstreamRefused(429, error, headers=_retry_after(wait))


def _tokens(call: Call) -> int:
    """What the limits of an upstream charge at admission, as OpenAI's do."""
    return max(call.max_tokens or _DEFAULT_ANSWER, len(call.body) // CHARACTERS_PER_TOKEN)


def _spare(call: Call) -> float:
    """The share of a rate limit that is left to everybody else."""
    return 1 / SPARE if call.background else 0.0


def _over_first(tried: Sequence[Tried]) -> HomeportError:
    """Of those that are alike, the last."""
    problems = [one.problem for one in reversed(tried)]
    return min(problems, key=lambda problem: math.inf if problem.again is None else problem.again)


def _retry_after(seconds: float) -> tuple[tuple[str, str], ...]:
    return ("retry-after", str(max(1, math.ceil(seconds)))), ("retry-after-ms", str(math.ceil(seconds * 1000)))


def _word(problem: HomeportError) -> str:
    """For the log: nothing that the upstream said, which may have a key or a prompt in it."""
    return f"status {problem.upstream_status}" if isinstance(problem, UpstreamRefused) else str(problem.code)
