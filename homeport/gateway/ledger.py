"""One entry for each admitted request: opened at admission, closed exactly once, whatever happened.

    admitted -> open -> completed    the answer went out whole
                     -> failed       an error did
                     -> left         the client went; what was produced until then is charged
                     -> killed       the process was; found in its journal at the next start, charged as reserved

A row says what was used, in classes that do not overlap, and how the money was reckoned: by which rule, line by line.
"""

import asyncio
import logging
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress

import msgspec
from msgspec.structs import replace

from homeport import clock
from homeport.backends.capabilities import Call, Frame, Usage
from homeport.backends.drawing import Quality
from homeport.backends.local import image_bill
from homeport.errors import HomeportError, Unavailable
from homeport.gateway import counting
from homeport.gateway.endpoints import Endpoint
from homeport.gateway.keyring import Principal
from homeport.gateway.limits import Grant
from homeport.gateway.pricing import Line, Price, Prices, Units
from homeport.gateway.produced import Produced
from homeport.gateway.routing import Target
from homeport.gateway.watching import LEFT, Watchers, status_of
from homeport.store.journal import LARGEST_CLOSING, Journal, JournalFull
from homeport.store.usage import UsageLog
from homeport.store.usage_row import UsageRow
from homeport.wire.money import dollars

log = logging.getLogger("homeport.ledger")

#: Bytes of a name. Names come from clients and may be long; a record has a slot of the journal.
LONGEST_NAME = 80
#: Of an answer that names none.
DEFAULT_TIER = "default"
PICO_PER_NANO = 1000


class Opening(msgspec.Struct, array_like=True, frozen=True):
    """What the journal knows of a request that runs: enough for the row of one whose process was killed. A release may
    find what the one before it wrote, so fields are added at the end, each with what it was before.

    target: the model of the first target; local: it runs on this machine. prompt, answer: tokens that the limits have
    reserved. money: nanodollars that budgets have. characters, milliseconds: to be spoken and heard. images: to be
    drawn, of one `size`.
    """

    request_id: str
    started_at: float
    key_id: str
    project: str
    user: str
    endpoint: str
    page: str
    model: str
    target: str
    local: bool
    stream: bool
    prompt: int
    answer: int
    money: int
    batch: bool = False
    characters: int = 0
    milliseconds: int = 0
    images: int = 0
    size: str = ""


_opening = msgspec.msgpack.Decoder(Opening)
_row = msgspec.msgpack.Decoder(UsageRow)
_encode = msgspec.msgpack.Encoder().encode
_NO_MEDIA = Usage(0, 0)


class Entry(msgspec.Struct, eq=False):
    """What is known of a request while it runs. Leaving its `with` block closes it. key_id, name: of the key and of the
    model, as records have room for them. tries: that have failed."""

    _ledger: "Ledger"
    _slot: int
    endpoint: Endpoint
    principal: Principal
    call: Call
    grant: Grant
    targets: Sequence[Target]
    key_id: str
    name: str
    started_at: float
    started: float
    first_at: float | None = None
    target: Target | None = None
    ran: str | None = None
    service_tier: str | None = None
    usage: Usage | None = None
    cache_hit: bool = False
    kept: Usage | None = None
    tries: int = 0
    produced: Produced = msgspec.field(default_factory=Produced)

    def __enter__(self) -> "Entry":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: object) -> None:
        """completed; failed, with the status that the client saw or would have; left: the client went, which arrives as
        a closed generator or as a cancellation."""
        if error is None:
            self._ledger.close(self, self._slot, "completed", 200)
        else:
            status = status_of(error)
            self._ledger.close(self, self._slot, "failed" if status != LEFT else "left", status)

    def observe(self, frame: Frame) -> None:
        if self.first_at is None:
            self.first_at = clock.monotonic()
            self.ran, self.service_tier, self.kept = frame.model, frame.service_tier, frame.kept
        if frame.usage is not None:
            self.usage, self.kept = frame.usage, frame.kept
        elif frame.data and self.endpoint.usual is None:
            self.produced.take(frame.data)

    def tried(self, error: HomeportError, then: str) -> None:
        """The target has failed. then: as Watcher.tried."""
        self.tries += 1
        self._ledger.watchers.tried(self, error, then)


class Ledger:
    """watchers: told of every entry, when it is closed and counted."""

    def __init__(self, log: UsageLog, journal: Journal, prices: Prices) -> None:
        self._log = log
        self._journal = journal
        self._prices = prices
        self.watchers = Watchers()

    def entry(
        self, endpoint: Endpoint, principal: Principal, call: Call, grant: Grant, targets: Sequence[Target]
    ) -> Entry:
        """Open an entry. Raises Unavailable (503) when it could not be recorded."""
        key_id, name, now = short(principal.key_id), short(call.name), clock.now()
        media = endpoint.usual(call) if endpoint.usual is not None else _NO_MEDIA
        opening = Opening(
            call.request_id,
            now,
            key_id,
            principal.project,
            principal.user,
            endpoint.name,
            endpoint.page,
            name,
            name if targets[0].model == call.name else short(targets[0].model),
            targets[0].local,
            call.stream,
            len(call.body) // 4 if endpoint.usual is None else 0,
            call.max_tokens or endpoint.default_max_tokens,
            grant.money,
            call.batch,
            media.characters,
            media.milliseconds,
            media.images,
            media.size,
        )
        try:
            slot = self._journal.open(_encode(opening))
        except JournalFull:
            raise Unavailable(
                "Requests cannot be recorded at the moment, and what cannot be recorded is not served. Try again soon.",
                code="ledger_unavailable",
                headers=(("retry-after", "1"),),
            ) from None
        self.watchers.running += 1
        started = clock.monotonic()
        return Entry(self, slot, endpoint, principal, call, grant, targets, key_id, name, now, started)

    def close(self, entry: Entry, slot: int, outcome: str, status: int) -> None:
        """The limits and the budgets are settled by what was really used, and the row goes to the log."""
        ending = Ending(
            entry, outcome, status, self._price(entry), self._at_list(entry), clock.now(), clock.monotonic()
        )
        self.watchers.running -= 1
        grant, usage = entry.grant, entry.usage
        unwritten = grant if grant.has_budgets else None
        if usage is None and not entry.produced:
            usage = _uncounted(entry, outcome)
        if usage is not None:
            guessed = entry.usage is None and (outcome == "completed" or _measured(usage))
            priced = ending.priced(usage)
            row = ending.row(priced, estimated=guessed or priced is not usage)
            cost = row.cost_pico
            grant.settle(used=_generated(entry, usage), cost=0 if cost is None else nano(cost))
            if cost is not None:
                entry.call.told.append(b"x-homeport-cost: %b\r\n" % dollars(cost).encode())
            self._journal.close(slot, _record(row))
            self._log.put(slot, row, unwritten)
            self.watchers.ended(ending, row)
            return
        settle, tell = grant.settle_later(), self._told_later(ending)

        def counted() -> UsageRow:
            """In the log's thread: what was produced before the client went, or by an upstream that does not count."""
            try:
                usage = _counted(entry)
            except Exception as error:  # in the log's thread, which nobody else may end
                log.error("%s: its tokens cannot be counted: %s", entry.call.request_id, type(error).__name__)
                usage = _estimated(entry)
            row = ending.row(usage, estimated=True)
            settle(_generated(entry, usage), nano(row.cost_pico))
            tell(row)
            return row

        self._log.put(slot, counted, unwritten)

    def _told_later(self, ending: "Ending") -> Callable[[UsageRow], None]:
        """For the log's thread: watchers are told in the event loop."""
        loop = asyncio.get_running_loop()

        def tell(row: UsageRow) -> None:
            with suppress(RuntimeError):  # the loop has ended
                loop.call_soon_threadsafe(self.watchers.ended, ending, row)

        return tell

    def recover(self) -> list[UsageRow]:
        """Rows of what a killed process left open or unwritten. The caller writes them, then calls forget_left."""
        rows: list[UsageRow] = []
        for left in self._journal.left:
            try:
                rows.append(_row.decode(left.record) if left.closed else self._killed(_opening.decode(left.record)))
            except msgspec.DecodeError:
                continue  # a slot that was torn: its request had not begun
        return rows

    def _killed(self, opening: Opening) -> UsageRow:
        """Nobody knows how far it came: it is charged as it was reserved, and flagged.

        Where a budget holds that is the worst case, which it was admitted with: no kill makes a budget go too far.
        """
        price = self._prices.find(opening.target, opening.started_at, listed=not opening.local)
        used = Usage(
            opening.prompt,
            opening.answer,
            images=opening.images,
            characters=opening.characters,
            milliseconds=opening.milliseconds,
            size=opening.size,
        )
        bill = _bill(price, units(used), batch=opening.batch)
        return UsageRow(
            request_id=opening.request_id,
            started_at=opening.started_at,
            ended_at=opening.started_at,
            key_id=opening.key_id,
            project_id=opening.project,
            user_id=opening.user,
            endpoint=opening.endpoint,
            page=opening.page,
            model=opening.model,
            ran=opening.target,
            stream=opening.stream,
            batch=opening.batch,
            outcome="killed",
            estimated=True,
            input_tokens=opening.prompt,
            output_tokens=opening.answer,
            images=opening.images,
            characters=opening.characters,
            milliseconds=opening.milliseconds,
            size=opening.size,
            cost_pico=opening.money * PICO_PER_NANO if opening.money else bill.pico,
            price_lines=None if opening.money else bill.lines,
            price_rule=bill.rule,
            list_pico=_listed(self._prices.at_list(opening.model, opening.started_at), used, batch=opening.batch),
        )

    def _price(self, entry: Entry) -> Price | None:
        """Of the target that answered, or would have: by the name that it is asked for, or by the one that it says
        ran."""
        target = entry.target or entry.targets[0]
        found = price_of(self._prices, target, entry.started_at)
        if found is None and entry.ran is not None:
            found = self._prices.find(entry.ran, entry.started_at, listed=not target.local)
        return found

    def _at_list(self, entry: Entry) -> Price | None:
        """Of the name that was asked for; where no list has that, of what an upstream was asked for."""
        target = entry.target or entry.targets[0]
        found = self._prices.at_list(entry.name, entry.started_at)
        if found is None and not target.local:
            found = self._prices.at_list(target.model, entry.started_at)
        return found


class Ending(msgspec.Struct, eq=False):
    """How an entry ended. ended: of the clock that durations are measured by."""

    entry: Entry
    outcome: str
    status: int
    price: Price | None
    at_list: Price | None
    ended_at: float
    ended: float

    def priced(self, usage: Usage) -> Usage:
        """With what its tokens may have been, where those alone have a price and nobody has told them: speech that
        comes as sound, transcriptions that come as text, pictures of somebody who does not count."""
        return _as_priced(self.price, usage)

    def row(self, usage: Usage, *, estimated: bool) -> UsageRow:
        entry, used = self.entry, units(usage)
        tier = short(entry.service_tier) if entry.service_tier else DEFAULT_TIER
        call, principal, target, endpoint = entry.call, entry.principal, entry.target, entry.endpoint
        first = entry.first_at if entry.first_at is not None else self.ended
        kept = None if entry.kept is None else units(entry.kept)
        ran = entry.ran or call.model
        bill = _bill(self.price, used, batch=call.batch, service_tier=tier, cache_hit=entry.cache_hit, kept=kept)
        return UsageRow(
            request_id=call.request_id,
            started_at=entry.started_at,
            ended_at=self.ended_at,
            key_id=entry.key_id,
            project_id=principal.project,
            user_id=principal.user,
            endpoint=endpoint.name,
            page=endpoint.page,
            model=entry.name,
            ran=short(ran) if ran else entry.name,
            backend=target.name if target is not None else "",
            stream=call.stream,
            batch=call.batch,
            service_tier=tier,
            cache_hit=entry.cache_hit,
            outcome=self.outcome,
            status=self.status,
            estimated=estimated,
            input_tokens=used.input,
            cached_tokens=used.cached,
            cache_write_tokens=used.cache_write,
            input_audio_tokens=used.input_audio,
            input_image_tokens=used.input_image,
            output_tokens=used.output,
            output_audio_tokens=used.output_audio,
            output_image_tokens=used.output_image,
            images=used.images,
            characters=used.characters,
            milliseconds=used.milliseconds,
            size=used.size,
            cost_pico=bill.pico,
            saved_pico=bill.saved,
            price_lines=bill.lines,
            price_rule=bill.rule,
            first_ms=round((first - entry.started) * 1000),
            total_ms=round((self.ended - entry.started) * 1000),
            tries=entry.tries,
            list_pico=self._list_pico(usage, bill, batch=call.batch, service_tier=tier),
        )

    def _list_pico(self, usage: Usage, bill: "_Bill", *, batch: bool, service_tier: str) -> int | None:
        """As if nothing had come from the cache."""
        if self.at_list is not None and self.at_list is self.price and bill.pico is not None:
            return bill.pico + (bill.saved or 0)
        used = _listed(self.at_list, usage, batch=batch, service_tier=service_tier)
        kept = self.entry.kept
        if used is None or kept is None:
            return used
        more = _listed(self.at_list, kept, batch=batch, service_tier=service_tier)
        return None if more is None else used + more


def price_of(prices: Prices, target: Target, at: float) -> Price | None:
    """By the name that it is asked for; a fine-tuned model of this machine that has no price of its own costs what its
    base does."""
    found = prices.find(target.model, at, listed=not target.local)
    return prices.find(target.base, at, listed=False) if found is None and target.base else found


def units(usage: Usage) -> Units:
    """Disjoint classes: what is counted in a part is not counted in its whole."""
    text = usage.prompt - usage.cached - usage.cache_write - usage.input_audio - usage.input_image
    return Units(
        text,
        usage.cached,
        usage.cache_write,
        usage.input_audio,
        usage.input_image,
        usage.completion - usage.output_audio - usage.output_image,
        usage.output_audio,
        usage.output_image,
        images=usage.images,
        characters=usage.characters,
        milliseconds=usage.milliseconds,
        size=usage.size,
    )


class _Bill(msgspec.Struct, frozen=True, gc=False):
    pico: int | None
    saved: int | None
    lines: tuple[Line, ...] | None
    rule: str | None


#: No price is no cost, which is not a cost of zero.
_NO_PRICE = _Bill(None, None, None, None)


def _bill(
    price: Price | None,
    used: Units,
    *,
    batch: bool = False,
    service_tier: str = DEFAULT_TIER,
    cache_hit: bool = False,
    kept: Units | None = None,
) -> _Bill:
    """What comes from the cache costs nothing, and what it would have cost is saved: all of a hit, or what was kept."""
    if price is None or (cost := price.cost(used, batch, service_tier=service_tier)) is None:
        return _NO_PRICE
    saved = price.cost(kept, batch, service_tier=service_tier) if kept is not None else None
    if cache_hit:
        return _Bill(0, cost.pico + (saved.pico if saved is not None else 0), None, price.rule)
    return _Bill(cost.pico, saved.pico if saved is not None else None, cost.lines, price.rule)


def _as_priced(price: Price | None, usage: Usage) -> Usage:
    if price is None or not _measured(usage) or price.cost(units(usage)) is not None:
        return usage
    return next((guess for guess in _in_tokens(usage) if price.cost(units(guess)) is not None), usage)


def _listed(price: Price | None, usage: Usage, *, batch: bool, service_tier: str = DEFAULT_TIER) -> int | None:
    """Picodollars at list price."""
    if price is None:
        return None
    cost = price.cost(units(_as_priced(price, usage)), batch, service_tier=service_tier)
    return None if cost is None else cost.pico


def _generated(entry: Entry, usage: Usage) -> int:
    """Tokens that the limits are charged: an answer from the cache takes none."""
    return 0 if entry.cache_hit else usage.prompt + usage.completion


def _uncounted(entry: Entry, outcome: str) -> Usage:
    """Nothing was counted and nothing was produced: whole answers had a prompt at least, refused requests nothing. Of
    media it is what is usual once they have begun."""
    if entry.endpoint.usual is not None:
        begun = outcome == "completed" or entry.first_at is not None
        return entry.endpoint.usual(entry.call) if begun else _NO_MEDIA
    return Usage(len(entry.call.body) // 4, 0) if outcome == "completed" else Usage(0, 0)


def _measured(usage: Usage) -> bool:
    """There is something in it that is not counted in tokens."""
    return bool(usage.milliseconds or usage.characters or usage.images)


#: Tokens of a second that is heard, and of what is said in it; audio tokens of a character that is spoken.
_HEARD_TOKENS, _SAID_TOKENS, _SPOKEN_TOKENS = 17, 4, 1.5


def _in_tokens(usage: Usage) -> Iterator[Usage]:
    """As audio or pictures, or as tokens of any kind, where those have no price of their own."""
    if usage.images:
        completion = usage.images * _drawn_tokens(usage.size)
        yield replace(usage, completion=completion, output_image=completion)
        yield replace(usage, completion=completion)
        return
    seconds, characters = -(-usage.milliseconds // 1000), usage.characters
    prompt = seconds * _HEARD_TOKENS + characters // 4
    completion = seconds * _SAID_TOKENS + math.ceil(characters * _SPOKEN_TOKENS)
    plain = replace(usage, prompt=prompt, completion=completion)
    yield replace(plain, input_audio=seconds * _HEARD_TOKENS, output_audio=completion if characters else 0)
    yield plain


def _drawn_tokens(size: str) -> int:
    """Of one picture. size: as priced; of none that is known, a square of the usual quality."""
    graded, _, shape = size.rpartition(" ")
    width, _, height = shape.partition("x")
    sides = (int(width), int(height)) if width.isdigit() and height.isdigit() else (1024, 1024)
    return image_bill.of_made(*sides, _QUALITIES.get(graded, "medium"))


_QUALITIES: Mapping[str, Quality] = {"low": "low", "high": "high", "hd": "high"}


def _estimated(entry: Entry) -> Usage:
    """By characters alone."""
    produced = entry.produced
    return Usage(len(entry.call.body) // 4, round(len(produced.text) / 4 * produced.times))


def _counted(entry: Entry) -> Usage:
    """By OpenAI's tokenizer where it is installed, by characters where not."""
    call = entry.call
    model = call.model or call.name
    request = {name: msgspec.json.decode(value) for name, value in call.fields.items()}
    prompt = counting.count_request(model, request)
    text = entry.produced.text
    return Usage(prompt, round(counting.count_text(model, text) * entry.produced.times))


def nano(pico: int | None) -> int:
    """Rounded up: a budget is never counted short."""
    return -(-(pico or 0) // PICO_PER_NANO)


def short(name: str) -> str:
    """As much of it as a record has room for, in whole characters."""
    if len(name) * 4 <= LONGEST_NAME or (len(name) <= LONGEST_NAME and name.isascii()):
        return name
    return name.encode(errors="replace")[:LONGEST_NAME].decode(errors="ignore")


def _record(row: UsageRow) -> bytes:
    """A row that fits into its slot of the journal; without the lines of its price, if need be."""
    record = _encode(row)
    if len(record) > LARGEST_CLOSING:
        record = _encode(msgspec.structs.replace(row, price_lines=None))
    return record
