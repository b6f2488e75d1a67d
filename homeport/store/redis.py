"""What the replicas share, over one Redis (6 or newer; the extra `homeport[redis]`). The protocol is in `shared.py`.

Each replica has a *session* in Redis: a name with a lease. Whatever it holds without a period (requests at once, money
that is reserved) stands there under that name, so that nothing is lost or counted twice:

    a replica that was killed      its requests at once stop counting when the lease ends; its money goes on counting
                                   until the database has its entries (`forget`, with its name)
    Redis lost its memory, or      the session is unknown there: nothing is charged before the replica has joined again
    the lease ended meanwhile      under a new name and said what it holds; if it is the memory that was lost, no money
                                   is before the others had the time for it, too
    an answer came too late        the next join ends the old session, so what it did or did not charge is gone

All changes of counters go through one queue in the order they were asked for, in pipelines over one connection. When
Redis does not answer within the deadline it is left alone for a while, and requests are refused (`closed`) or counted
here, against this replica's share of the limits (`local`).
"""

import asyncio
import logging
from collections import deque
from collections.abc import AsyncGenerator, Awaitable, Iterable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import NoScriptError, RedisError

from homeport import clock, ids
from homeport.errors import SettingsError, Unavailable
from homeport.store.redis_kept import KeptInRedis, within
from homeport.store.redis_scripts import (
    BEAT,
    EXPECT,
    FORGET,
    GIVE,
    HOLD,
    JOIN,
    LEAVE,
    NOT_YET,
    SCRIPTS,
    SEED,
    TAKE,
    UNKNOWN_SESSION,
    Script,
)
from homeport.store.shared import Charge, MemoryShared, Taken, share_of

log = logging.getLogger("homeport.redis")

#: Seconds: Redis may take so long to answer; after a failure it is left alone so long.
DEADLINE = 0.25
PAUSE = 1.0
HEARTBEAT_SECONDS = 2.0
#: By then every replica has noticed that Redis lost its memory, and has said what it holds.
GRACE = HEARTBEAT_SECONDS + PAUSE + 2 * DEADLINE
#: Steps in one pipeline.
_BATCH = 128
#: Budgets of which the last known use is remembered, for the time that Redis is away.
_REMEMBERED = 10_000
#: Names of joins without an answer that the next join ends. Those of long ago cannot be waiting in a socket any more.
_FORMER = 10
_FAILURES = (RedisError, OSError, TimeoutError)
#: The part of the deadline that kept bytes are waited for: a request goes on without them.
_READING = 0.2


class _Step(NamedTuple):
    script: Script
    keys: Sequence[str]
    arguments: Sequence[str | float]


@dataclass(slots=True, eq=False)
class _Take:
    charges: Sequence[Charge]
    amounts: Sequence[float]
    waiter: "asyncio.Future[Taken | None]"


@dataclass(slots=True, eq=False)
class _Give:
    charges: Sequence[Charge]
    reserved: Sequence[float]
    used: Sequence[float]
    session: int


@dataclass(slots=True, eq=False)
class _Ask:
    """Any other script. by_session: the session's name is its first argument."""

    script: Script
    keys: Sequence[str]
    arguments: Sequence[str | float]
    waiter: "asyncio.Future[Any] | None" = None
    by_session: bool = False


class RedisShared:
    def __init__(
        self,
        url: str,
        *,
        on_failure: Literal["closed", "local"] = "closed",
        prefix: str = "homeport",
        replica: str | None = None,
        deadline: float = DEADLINE,
        pause: float = PAUSE,
        grace: float = GRACE,
    ) -> None:
        """prefix: of all keys and channels, for those who share a Redis with others. replica: a name that nobody else
        has or had; no dot is in it. Raises SettingsError: no URL."""
        try:
            self._client: Redis = Redis.from_url(
                url, retry=Retry(NoBackoff(), 0), socket_timeout=None, socket_connect_timeout=deadline
            )
        except ValueError:
            raise SettingsError("redis_url is no URL of Redis. Write redis://HOST:6379/0.") from None
        #: One hash tag: all keys are in one slot of a Redis cluster.
        self._prefix = f"{{{prefix}}}:"
        self._deadline = deadline
        self._pause = pause
        self._local = on_failure == "local"
        self._queue: deque[_Take | _Give | _Ask] = deque()
        self._wake = asyncio.Event()
        self._pumping: asyncio.Task[None] | None = None
        self._kept = KeptInRedis(self._client, self._prefix + "cache:", deadline=deadline * _READING, pause=pause)
        self._beating: asyncio.TimerHandle | None = None
        #: Away: it is not asked. Joined: it knows this session. Joining while it is away is how one finds out.
        self._away = True
        self._joined = False
        self._joining = False
        self._failing = False
        self._fallback: MemoryShared | None = None
        #: What the last answers said was used of each budget, and what this replica spends from while Redis is away.
        self._seen: dict[str, int] = {}
        self._base: dict[str, int] = {}
        #: What this replica holds: key -> amount; and what of it began to be held while it was joining.
        self._held: dict[str, int] = {}
        self._late: dict[str, int] = {}
        #: Money of which Redis may not know all that was settled.
        self._unsure: set[str] = set()
        #: Money, and replicas, that were to be forgotten while Redis was away.
        self._forgotten: set[str] = set()
        self._killed: set[str] = set()
        #: Money that is about to be seeded.
        self._expected: set[str] = set()
        #: `local` goes on with what it knows, sooner than wait for others.
        self._grace = 0 if on_failure == "local" else round(grace * 1000)
        self._replica = replica or ids.random_text(12)
        self._attempts = 0
        self._session = 0
        self._name = ""
        self._former: list[str] = []
        self._replicas = 1
        self._quiet_until = float("-inf")

    @property
    def away(self) -> bool:
        """As of the last answer: it is asked every two seconds at least."""
        return self._away

    async def start(self) -> None:
        """Joins if Redis is there; if not, the policy holds until it is."""
        await self._join()
        loop = asyncio.get_running_loop()
        self._pumping = loop.create_task(self._pump(), name="redis")
        self._kept.start()
        self._beating = loop.call_later(HEARTBEAT_SECONDS, self._beat)

    async def close(self) -> None:
        """What was given before is settled, if Redis is there."""
        if self._beating is not None:
            self._beating.cancel()
        await self._kept.close()
        if self._pumping is not None:
            if not self._away:
                with suppress(TimeoutError, Unavailable):
                    async with asyncio.timeout(2.0):
                        await self._ask(_Ask(LEAVE, (), (), by_session=True))
            self._pumping.cancel()
            with suppress(asyncio.CancelledError):
                await self._pumping
            self._pumping = None
        self._away = True
        self._dismiss()
        with suppress(*_FAILURES):
            await self._client.aclose()

    async def take(self, charges: Sequence[Charge], amounts: Sequence[float]) -> Taken:
        if not self._away:
            item = _Take(charges, amounts, asyncio.get_running_loop().create_future())
            self._put(item)
            try:
                taken = await item.waiter
            except asyncio.CancelledError:
                if item.waiter.done() and not item.waiter.cancelled():
                    self._undo(item, item.waiter.result())
                raise
            if taken is not None:
                return taken
        if self._fallback is None:
            raise _unavailable()
        return await self._take_locally(self._fallback, charges, amounts)

    def give(
        self, charges: Sequence[Charge], reserved: Sequence[float], used: Sequence[float], session: int = 0
    ) -> None:
        item = _Give(charges, reserved, used, session)
        if not self._away or self._joining:
            self._put(item)
        else:
            self._given_away(item)

    async def expect(self, key: str) -> None:
        self._expected.add(key)
        if not self._away:
            with suppress(Unavailable):
                await self._ask(_Ask(EXPECT, (key,), (self._replica,)))

    async def seed(self, key: str, used: int) -> None:
        expected = key in self._expected
        self._expected.discard(key)
        if not self._away:
            with suppress(Unavailable):
                await self._ask(_Ask(SEED, (key,), (self._replica, used, int(expected))))
                return
        if self._fallback is None:
            raise _unavailable()
        await self._seed_locally(self._fallback, key, used)

    async def forget(self, keys: Iterable[str], killed: Iterable[str] = ()) -> None:
        keys, killed = tuple(keys), tuple(killed)
        if not self._away:
            with suppress(Unavailable):
                await self._ask(_Ask(FORGET, keys, killed))
                return
        self._forgotten.update(keys)
        self._killed.update(killed)

    async def publish(self, channel: str, message: bytes) -> None:
        await self._try(self._client.publish(self._prefix + channel, message))

    @asynccontextmanager
    async def subscribe(self, channel: str) -> AsyncGenerator[AsyncGenerator[bytes, None], None]:
        listening = self._client.pubsub(ignore_subscribe_messages=True)
        try:
            await self._try(listening.subscribe(self._prefix + channel))
            messages = self._messages(listening, self._prefix + channel)
            try:
                yield messages
            finally:
                await messages.aclose()
        finally:
            with suppress(*_FAILURES):
                await listening.aclose()  # type: ignore[no-untyped-call]

    async def get(self, key: str) -> bytes | None:
        return await self._kept.get(key) if not self._away else None

    async def set(self, key: str, value: bytes, ttl: float) -> None:
        if not self._away:
            await self._kept.set(key, value, ttl)

    async def clear(self, prefix: str) -> None:
        if self._away or not await self._kept.clear(prefix):
            raise Unavailable("Redis cannot be reached, so what is kept there stays. Try again soon.")

    # The queue, and the one task that empties it.

    def _put(self, item: "_Take | _Give | _Ask") -> None:
        self._queue.append(item)
        self._wake.set()

    async def _ask(self, item: _Ask) -> Any:
        """Raises Unavailable when Redis goes away meanwhile."""
        item.waiter = asyncio.get_running_loop().create_future()
        self._put(item)
        reply = await item.waiter
        if reply is None:
            raise _unavailable()
        return reply

    def _beat(self) -> None:
        if not self._away:
            self._put(_Ask(BEAT, (), (), by_session=True))
        self._beating = asyncio.get_running_loop().call_later(HEARTBEAT_SECONDS, self._beat)

    async def _pump(self) -> None:
        while True:
            if self._away:
                await clock.sleep(self._pause)
                await self._join()
            elif not self._joined:
                await self._join()
            elif self._queue:
                await self._send([self._queue.popleft() for _ in range(min(len(self._queue), _BATCH))])
            else:
                self._wake.clear()
                await self._wake.wait()

    async def _send(self, items: "Sequence[_Take | _Give | _Ask]") -> None:
        try:
            replies = await self._execute([self._step(item) for item in items])
        except asyncio.CancelledError:
            self._queue.extendleft(reversed(items))
            raise
        except Exception as error:
            self._queue.extendleft(reversed(items))
            self._fail(error)
            return
        again: list[_Take | _Give | _Ask] = []
        for item, reply in zip(items, replies, strict=True):
            if reply not in (UNKNOWN_SESSION, [UNKNOWN_SESSION]):
                self._arrived(item, reply)
                continue
            self._joined = False
            if not isinstance(item, _Ask) or item.script is not HOLD:  # the next join says what is held
                again.append(item)
        self._queue.extendleft(reversed(again))

    def _step(self, item: "_Take | _Give | _Ask") -> _Step:
        prefix = self._prefix
        keys = [prefix + "replicas"]
        if isinstance(item, _Ask):
            keys += [prefix + key for key in item.keys]
            return _Step(item.script, keys, (self._name, *item.arguments) if item.by_session else item.arguments)
        arguments: list[str | float] = [self._name]
        if isinstance(item, _Take):
            for charge, amount in zip(item.charges, item.amounts, strict=True):
                keys.append(prefix + charge.key)
                arguments += (_kind(charge), charge.limit, charge.period or 0, _whole(charge, amount))
            return _Step(TAKE, keys, arguments)
        for charge, reserved, used in self._still_counted(item):
            keys.append(prefix + charge.key)
            arguments += (_kind(charge), charge.limit, charge.period or 0)
            arguments += (_whole(charge, reserved), _whole(charge, used))
        return _Step(GIVE, keys, arguments)

    def _arrived(self, item: "_Take | _Give | _Ask", reply: Any) -> None:
        if isinstance(item, _Give):
            self._let_go(item)
            return
        if isinstance(item, _Ask):
            if item.script is BEAT:
                self._replicas = max(1, reply)
            elif item.waiter is not None and not item.waiter.done():
                item.waiter.set_result(reply)
            return
        if reply == [NOT_YET]:
            self._refuse(item)
            return
        missing = [index for index, used in enumerate(reply[1:]) if not used]
        refused = None if reply[0] < 0 else reply[0]
        taken = Taken(refused, [float(used or 0) for used in reply[1:]], missing, self._session)
        self._remember(item, taken)
        if _charged(taken):
            self._hold(item.charges, item.amounts)
        if item.waiter.done():
            self._undo(item, taken)
        else:
            item.waiter.set_result(taken)

    def _undo(self, item: _Take, taken: Taken | None) -> None:
        """Whoever asked has gone meanwhile."""
        if taken is not None and _charged(taken):
            self.give(item.charges, item.amounts, [0] * len(item.amounts), taken.session)

    async def _execute(self, steps: Sequence[_Step], *, load: bool = False) -> list[Any]:
        """One pipeline within the deadline."""
        replies: list[Any] = await within(self._deadline, self._pipeline(steps, load))
        return replies

    async def _pipeline(self, steps: Sequence[_Step], load: bool) -> list[Any]:
        pipeline = self._client.pipeline(transaction=False)
        loaded = SCRIPTS if load else ()
        for script in loaded:
            pipeline.execute_command("SCRIPT LOAD", script.text)
        for step in steps:
            pipeline.evalsha(step.script.sha, len(step.keys), *step.keys, *step.arguments)
        replies: list[Any] = (await pipeline.execute(raise_on_error=False))[len(loaded) :]
        unknown = [index for index, reply in enumerate(replies) if isinstance(reply, NoScriptError)]
        if unknown:
            pipeline = self._client.pipeline(transaction=False)
            for index in unknown:
                step = steps[index]
                pipeline.eval(step.script.text, len(step.keys), *step.keys, *step.arguments)
            for index, reply in zip(unknown, await pipeline.execute(raise_on_error=False), strict=True):
                replies[index] = reply
        for reply in replies:
            if isinstance(reply, Exception):
                raise reply
        return replies

    # Coming and going.

    async def _join(self) -> None:
        """A new session, told what this replica holds. If it fails, Redis is away."""
        self._attempts += 1
        name = f"{self._replica}.{self._attempts}"
        step = _Step(
            JOIN,
            [self._prefix + key for key in ("replicas", *self._held, *self._unsure)],
            [name, self._grace, len(self._former), *self._former, len(self._held), *self._held.values()],
        )
        self._former = [*self._former[:1], *self._former[1:][-_FORMER:], name]
        self._joining = True
        try:
            replies = await self._execute([step], load=True)
        except Exception as error:
            self._fail(error)
            return
        finally:
            self._joining = False
        if self._failing:
            log.info("Redis is back")
        self._name, self._former = name, [name]
        self._session += 1
        self._replicas = max(1, replies[0])
        self._away, self._joined, self._failing, self._fallback = False, True, False, None
        late, self._late = self._late, {}
        if late:
            self._queue.appendleft(_Ask(HOLD, tuple(late), tuple(late.values()), by_session=True))
        self._unsure.clear()
        if self._forgotten or self._killed:
            self._queue.appendleft(_Ask(FORGET, tuple(self._forgotten), tuple(self._killed)))
            self._forgotten.clear()
            self._killed.clear()

    def _fail(self, error: Exception) -> None:
        """Everybody who waits is told; what was to be settled is remembered for the next join."""
        self._away, self._joined = True, False
        self._late.clear()
        self._dismiss()
        if self._failing:
            return
        self._failing = True
        policy = "limits are counted here, against this replica's share" if self._local else "requests are refused"
        log.error("Redis is away (%s): until it is back %s", type(error).__name__, policy)
        self._session += 1
        self._base.clear()
        if self._local:
            self._fallback = MemoryShared()
            for key, amount in self._held.items():
                self._fallback.hold(key, amount)

    def _dismiss(self) -> None:
        waiting, self._queue = self._queue, deque()
        for item in waiting:
            if isinstance(item, _Give):
                self._given_away(item)
                continue
            if isinstance(item, _Take):
                self._unsure.update(_money(item.charges))
            elif item.script is FORGET:
                self._forgotten.update(item.keys)
                self._killed.update(map(str, item.arguments))
            self._refuse(item)

    def _refuse(self, item: "_Take | _Ask") -> None:
        """It was not done."""
        if item.waiter is not None and not item.waiter.done():
            item.waiter.set_result(None)

    def _given_away(self, item: _Give) -> None:
        """Settled while Redis is away: the next join tells it what is held then, and forgets what was spent."""
        self._let_go(item)
        self._unsure.update(_money(item.charges))
        if self._fallback is not None:
            charges, reserved, used = [], [], []
            for charge, held, came_to in self._still_counted(item):
                charges.append(self._shared_out(charge, self._replicas))
                reserved.append(held)
                used.append(came_to)
            self._fallback.give(charges, reserved, used)

    async def _try(self, asked: Awaitable[Any]) -> Any:
        """For what may fail: None, and no more questions for a while."""
        if clock.monotonic() < self._quiet_until:
            if asyncio.iscoroutine(asked):
                asked.close()
            return None
        try:
            async with asyncio.timeout(self._deadline):
                return await asked
        except _FAILURES:
            self._quiet_until = clock.monotonic() + self._pause
            return None

    async def _messages(self, listening: Any, channel: str) -> AsyncGenerator[bytes, None]:
        while True:
            try:
                if not listening.subscribed:
                    await listening.subscribe(channel)
                message = await listening.get_message(timeout=HEARTBEAT_SECONDS)
            except _FAILURES:
                await clock.sleep(self._pause)
                continue
            if message is not None and message["type"] == "message":
                yield message["data"]

    # What this replica holds, and its share while Redis is away.

    def _hold(self, charges: Sequence[Charge], amounts: Sequence[float]) -> None:
        for charge, amount in zip(charges, amounts, strict=True):
            if charge.period is None and amount:
                self._held[charge.key] = self._held.get(charge.key, 0) + int(amount)
                if self._joining:
                    self._late[charge.key] = self._late.get(charge.key, 0) + int(amount)

    def _let_go(self, item: _Give) -> None:
        for charge, reserved in zip(item.charges, item.reserved, strict=True):
            if charge.period is None and reserved:
                left = self._held.get(charge.key, 0) - int(reserved)
                if left > 0:
                    self._held[charge.key] = left
                else:
                    self._held.pop(charge.key, None)

    def _still_counted(self, item: _Give) -> list[tuple[Charge, float, float]]:
        """Buckets that were charged in another session were charged elsewhere, or are gone."""
        return [
            (charge, reserved, used)
            for charge, reserved, used in zip(item.charges, item.reserved, item.used, strict=True)
            if charge.period is None or item.session == self._session
        ]

    def _remember(self, item: _Take, taken: Taken) -> None:
        for charge, amount, used in zip(item.charges, item.amounts, taken.used, strict=True):
            if charge.seeded:
                if len(self._seen) > _REMEMBERED:
                    self._seen.clear()
                self._seen[charge.key] = int(used) + (int(amount) if _charged(taken) else 0)

    async def _take_locally(self, fallback: MemoryShared, charges: Sequence[Charge], amounts: Sequence[float]) -> Taken:
        share = self._replicas
        taken = await fallback.take([self._shared_out(charge, share) for charge in charges], amounts)
        if _charged(taken):
            self._hold(charges, amounts)
        return Taken(taken.refused, taken.used, taken.missing, self._session, share)

    def _shared_out(self, charge: Charge, share: int) -> Charge:
        """An equal part of the limit; of money, of what was left of it."""
        if not charge.seeded:
            return charge._replace(limit=share_of(charge.limit, share))
        base = self._base.get(charge.key, 0)
        return charge._replace(limit=base + max(0, charge.limit - base) // share)

    async def _seed_locally(self, fallback: MemoryShared, key: str, used: int) -> None:
        """The database knows what has ended; Redis told what the others had reserved when it was last seen."""
        held = fallback.held(key)
        settled = max(used, self._seen.get(key, 0) - held)
        await fallback.seed(key, settled)
        self._base.setdefault(key, settled + held)


def _whole(charge: Charge, amount: float) -> float:
    """What is held is counted in whole numbers; buckets know parts too (megabytes)."""
    return amount if charge.period is not None else int(amount)


def _kind(charge: Charge) -> str:
    return "b" if charge.period is not None else "m" if charge.seeded else "h"


def _money(charges: Sequence[Charge]) -> list[str]:
    return [charge.key for charge in charges if charge.seeded]


def _charged(taken: Taken) -> bool:
    return taken.refused is None and not taken.missing


def _unavailable() -> Unavailable:
    return Unavailable(
        "Rate limits cannot be checked at the moment, and what cannot be checked is not served. Try again in a moment.",
        code="limits_unavailable",
        headers=(("retry-after", "1"),),
    )
