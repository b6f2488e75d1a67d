"""What an answer costs: prices as data, bills as exact whole numbers.

Prices come from three places, and the first that knows a name has it: the operator's settings, `prices.toml` (written
here: the models of the 2024 documentation), `genai_prices.json` (made by hatch_build.py when Homeport is built: other
models, from the package genai-prices; without that file there are fewer prices). An exact name goes before the name
without its date. A name that nobody knows has no price, which is not a price of zero.

Money is whole picodollars (10^-12 of a US dollar). The price of one unit is whole attodollars (10^-18), rounded up; a
line is its quantity times that, rounded down to a whole picodollar; a cost is the sum of its lines. Every list price of
a token, a picture or a character is whole picodollars already, so bills of those are exact. Floats are nowhere.
"""

import calendar
import re
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from datetime import date
from decimal import Decimal
from functools import lru_cache
from operator import attrgetter
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from homeport.errors import SettingsError
from homeport.gateway.limits import family
from homeport.wire.models import made_from

#: Tokens that an answer may take when neither the request nor the data say how many.
DEFAULT_MAX_OUTPUT = 16_384
LISTED = "prices.toml"
SNAPSHOT = "genai_prices.json"

_PER_MILLION = 1_000_000
_ATTO = 10**18
_ATTO_PER_PICO = 10**6
_COMPACT_DATE = re.compile(r"-\d{8}$")

#: Classes of tokens: the field of Units -> the name of its price, the words on the bill, and the price that holds where
#: there is none of its own. Audio has no such price: it costs twenty times what text does.
_TOKENS = {
    "input": ("input", "{}, input", None),
    "cached": ("cached_input", "{}, cached input", "input"),
    "cache_write": ("cache_write", "{}, cache write", "input"),
    "input_audio": ("input_audio", "{} audio, input", None),
    "input_image": ("input_image", "{} image, input", "input"),
    "output": ("output", "{}, output", None),
    "output_audio": ("output_audio", "{} audio, output", None),
    "output_image": ("output_image", "{} image, output", "output"),
    "training": ("training", "{}, training", None),
}
_tokens = attrgetter(*_TOKENS)
_PROMPT = ("input", "cached", "cache_write", "input_audio", "input_image")
_ANSWER = ("output", "output_audio", "output_image")
#: Names of prices that a row may have beside those of tokens.
_OTHER_PRICES = ("per_image", "per_minute", "per_million_characters")
#: Service tiers that never become priority where they are asked for.
_NEVER_PRIORITY = ("default", "flex", "scale")


class Units(msgspec.Struct, gc=False):
    """What was used, in classes that do not overlap. Numbers below zero count as zero.

    Tokens: input and output are text, or whatever the backend did not tell apart; `training` those of a fine-tuning
    job. images: pictures made, of one `size`, with the quality before it where that is not the usual one (`1024x1024`,
    `hd 1024x1792`). characters: of text that was spoken. milliseconds: of audio that was heard, billed by the second
    to the nearest.
    """

    input: int = 0
    cached: int = 0
    cache_write: int = 0
    input_audio: int = 0
    input_image: int = 0
    output: int = 0
    output_audio: int = 0
    output_image: int = 0
    training: int = 0
    images: int = 0
    characters: int = 0
    milliseconds: int = 0
    size: str = ""

    @property
    def prompt(self) -> int:
        return self.input + self.cached + self.cache_write + self.input_audio + self.input_image


_NO_UNITS = Units()


class Line(NamedTuple):
    """A line of a bill. item: as on OpenAI's costs page. unit: tokens, images, seconds or characters; unit_price: of
    one of them, in dollars."""

    item: str
    quantity: int
    unit: str
    unit_price: Decimal
    pico: int


class Cost(msgspec.Struct, frozen=True):
    lines: tuple[Line, ...]
    pico: int


class Rate(NamedTuple):
    """The price of one unit, in attodollars, and how a bill names it."""

    item: str
    unit: str
    atto: int
    dollars: Decimal

    def line(self, quantity: int) -> Line:
        item, unit, atto, dollars = self
        return Line(item, quantity, unit, dollars, quantity * atto // _ATTO_PER_PICO)


class Tariff(NamedTuple):
    """The rates of prompts longer than `above` tokens. rates: those of `tokens`, in the order of _TOKENS. images: by
    size, `""` for every other."""

    above: int
    tokens: Mapping[str, Rate]
    rates: tuple[Rate | None, ...]
    images: Mapping[str, Rate]
    characters: Rate | None
    seconds: Rate | None

    def dearest(self, classes: Sequence[str]) -> int:
        return max((self.tokens[name].atto for name in classes if name in self.tokens), default=0)

    def picture(self, size: str) -> Rate | None:
        return self.images.get(size) or self.images.get("")

    def measures(self, units: Units) -> bool:
        """Something of it has a price that is not by the token."""
        return bool(
            (self.seconds and units.milliseconds)
            or (self.characters and units.characters)
            or (units.images and self.picture(units.size))
        )


class Price:
    """What one model costs from one day on.

    rule: a readable name, kept with every row of the ledger. start: Unix seconds. context, max_output: tokens, None
    where unknown. modes: the tariffs of `standard`, and of `batch` and OpenAI's service tiers where they differ.
    """

    __slots__ = ("context", "max_output", "model", "modes", "rule", "source", "start", "valid_from")

    def __init__(self, model: str, row: Mapping[str, Any], origin: str) -> None:
        """row: as `[[price]]` of prices.toml. Raises SettingsError: a price is no number of dollars."""
        self.model = model
        self.valid_from: date | None = row.get("valid_from")
        self.source: str = row.get("source", origin)
        self.rule = f"{model}@{self.valid_from} {origin}" if self.valid_from else f"{model} {origin}"
        self.start = calendar.timegm(self.valid_from.timetuple()) if self.valid_from else float("-inf")
        self.context: int | None = row.get("context")
        self.max_output: int | None = row.get("max_output")
        self.modes = {"standard": _tariffs(model, row, origin)}
        if row.get("half_in_batch"):
            self.modes["batch"] = _tariffs(model, _halved(row), origin, item="batch | {}")
        for mode, prices in row.get("modes", {}).items():
            self.modes[mode] = _tariffs(model, prices, origin, item=mode + " | {}")

    def cost(self, units: Units, batch: bool = False, *, service_tier: str = "") -> Cost | None:
        """The bill of what was used; None when there is no price for a part of it.

        batch: half price, for text and embeddings of the models that OpenAI gives it for; its discount for cached
        input does not come on top. service_tier: what the answer says it was served in; one that has no price of its
        own costs the standard price. What was heard, spoken or drawn is billed by the second, the character or the
        picture where that has a price, and else by its tokens: never by both.
        """
        tariffs = self._of_mode(batch, service_tier)
        tariff = tariffs[0] if len(tariffs) == 1 else _reached(tariffs, units.prompt)
        lines: list[Line] = []
        pico = 0
        tokens: Sequence[int] = _tokens(units)
        if units.milliseconds or units.characters or units.images:
            if tariff.measures(units):
                tokens = (0,) * len(tokens)
            elif any(tokens):
                units = _NO_UNITS
        for rate, quantity in zip(tariff.rates, tokens, strict=True):
            if quantity > 0:
                if rate is None:
                    return None
                line = rate.line(quantity)
                lines.append(line)
                pico += line.pico
        if units.images or units.characters or units.milliseconds:
            for quantity, rate in (
                (units.images, tariff.picture(units.size)),
                (units.characters, tariff.characters),
                ((units.milliseconds + 500) // 1000, tariff.seconds),
            ):
                if quantity > 0:
                    if rate is None:
                        return None
                    lines.append(rate.line(quantity))
                    pico += lines[-1].pico
        return Cost(tuple(lines), pico)

    def dearest_pictures(self, count: int) -> int | None:
        """Picodollars of so many, whatever size they are drawn in; None where pictures have no price of their own."""
        rates = [rate for tariffs in self.modes.values() for one in tariffs for rate in one.images.values()]
        return max(rate.line(count).pico for rate in rates) if rates else None

    def worst(
        self,
        prompt_tokens: int,
        max_output_tokens: int | None = None,
        batch: bool = False,
        *,
        choices: int = 1,
        service_tier: str = "",
    ) -> int:
        """The most picodollars that so many tokens can cost, whatever classes they turn out to be of: what a budget
        reserves at admission. Nothing is taken for cached, and the dearest class of the prompt and of the answer holds.

        max_output_tokens: of all choices together. None: the most that the model gives, times `choices`; 16,384
        (DEFAULT_MAX_OUTPUT) for a model whose most is not known, which such a model may exceed. Pictures, characters
        and audio are known at admission: their worst case is their cost.

        service_tier: what the request asks for. The answer may be served in another: in the standard one for any, and
        in the project's own, which may be priority, for `auto` or nothing. So the dearest that it can be billed in
        holds: of all tiers, unless it asks for one that is never priority.
        """
        if max_output_tokens is None:
            max_output_tokens = choices * (self.max_output or DEFAULT_MAX_OUTPUT)
        return max(
            _worst(tariffs, prompt_tokens, max_output_tokens) for tariffs in self._may_be_billed(batch, service_tier)
        )

    def _may_be_billed(self, batch: bool, service_tier: str) -> list[tuple[Tariff, ...]]:
        if batch:
            return [self._of_mode(batch, service_tier)]
        if service_tier in _NEVER_PRIORITY:
            return [self.modes["standard"], self._of_mode(batch, service_tier)]
        return [tariffs for mode, tariffs in self.modes.items() if mode != "batch"]

    def _of_mode(self, batch: bool, service_tier: str) -> tuple[Tariff, ...]:
        """A batch is what we know to be one; an answer cannot say it of itself."""
        mode = "batch" if batch else service_tier
        return self.modes["standard"] if mode not in self.modes or (mode == "batch" and not batch) else self.modes[mode]

    @property
    def of_tokens(self) -> bool:
        """Tokens of some class have a price."""
        return any(tariff.tokens for tariffs in self.modes.values() for tariff in tariffs)

    def __repr__(self) -> str:
        return f"<Price {self.rule}>"


class Prices:
    """Names to prices. Made once; `find` is a look-up in a dictionary."""

    def __init__(
        self, own: Mapping[str, Sequence[Price]] | None = None, listed: Mapping[str, Sequence[Price]] | None = None
    ) -> None:
        """own: the operator's, which go before the listed ones. Of each name, the newest first."""
        self._own = own or {}
        self._listed = listed or {}
        self._known = lru_cache(maxsize=4096)(self._look_up)

    @classmethod
    def load(
        cls, overrides: Mapping[str, Mapping[str, Any]] | None = None, folder: Path = Path(__file__).parent
    ) -> "Prices":
        """Read the price lists of `folder`. overrides: name -> prices, named as in prices.toml; None is no price.

        Raises SettingsError: an override is no price.
        """
        own = {
            name: (Price(name, {key: value for key, value in row.items() if value is not None}, "settings"),)
            for name, row in (overrides or {}).items()
        }
        return cls(own, _lists(folder))

    def find(self, model: str, at: float, *, listed: bool = True) -> Price | None:
        """What `model` cost at that time (Unix seconds); None when nobody knows.

        listed: False for a model of this machine, which may be called what a hosted one is and costs what the operator
        says, or nothing.
        """
        return _then(self._known(model, True, listed), at)

    def at_list(self, model: str, at: float) -> Price | None:
        """What its maker asked for it at that time, whatever the operator says; None when no list has it."""
        return _then(self._known(model, False, True), at)

    def __iter__(self) -> Iterator[Price]:
        """Every price that is known, each once."""
        seen = set()
        for table in (self._own, self._listed):
            for prices in table.values():
                for price in prices:
                    if id(price) not in seen:
                        seen.add(id(price))
                        yield price

    def _look_up(self, model: str, own: bool, listed: bool) -> Sequence[Price]:
        for table in ((self._own,) if own else ()) + ((self._listed,) if listed else ()):
            for name in _names(model):
                if name in table:
                    return table[name]
        return ()


def _then(prices: Sequence[Price], at: float) -> Price | None:
    """The newest of them that held at that time."""
    for price in prices:
        if price.start <= at:
            return price
    return None


def _worst(tariffs: Sequence[Tariff], prompt_tokens: int, answer_tokens: int) -> int:
    """Picodollars, whichever tariff a prompt of at most so many tokens falls under."""
    reached = [tariff for tariff in tariffs if tariff.above < max(1, prompt_tokens)]
    prompt = max(tariff.dearest(_PROMPT) for tariff in reached)
    answer = max(tariff.dearest(_ANSWER) for tariff in reached)
    return -(-(prompt_tokens * prompt + answer_tokens * answer) // _ATTO_PER_PICO)


def _reached(tariffs: Sequence[Tariff], prompt: int) -> Tariff:
    """The one for a prompt of so many tokens."""
    return next((tariff for tariff in reversed(tariffs) if prompt > tariff.above), tariffs[0])


def _names(model: str) -> Iterator[str]:
    """A model's name, then those that may stand for it: a fine-tuned model's base, a dated snapshot's family."""
    yield model
    if (base := made_from(model)) is not None:
        model = f"ft:{base}"
        yield model
    yield family(model)
    yield _COMPACT_DATE.sub("", model)


@lru_cache(maxsize=1)
def _lists(folder: Path) -> dict[str, Sequence[Price]]:
    """Both lists; a name that stands in both is priced by the first."""
    table = tomllib.loads((folder / LISTED).read_text("utf-8"), parse_float=Decimal)
    return _snapshot(folder / SNAPSHOT, table.get("max_output", {})) | _listed(table)


def _listed(table: Mapping[str, Any]) -> dict[str, Sequence[Price]]:
    found: dict[str, list[Price]] = {}
    for row in table["price"]:
        price = Price(row["model"], row, LISTED)
        for name in (row["model"], *row.get("also", ())):
            found.setdefault(name, []).append(price)
    return {name: sorted(prices, key=lambda price: -price.start) for name, prices in found.items()}


def _snapshot(file: Path, max_output: Mapping[str, int]) -> dict[str, Sequence[Price]]:
    """The prices of genai_prices.json, whose shape hatch_build.py tells; none without the file."""
    try:
        table = msgspec.json.decode(file.read_bytes())
    except FileNotFoundError:
        return {}
    found: dict[str, Sequence[Price]] = {}
    for model in table["models"]:
        name = model["names"][0]
        limits = {"context": model.get("context"), "max_output": max_output.get(family(name))}
        prices = [
            Price(name, {**row, **limits, "valid_from": _date(row.get("valid_from"))}, table["source"])
            for row in reversed(model["rows"])
        ]
        for name in model["names"]:
            found[name] = prices
    return found


def _date(text: str | None) -> date | None:
    return date.fromisoformat(text) if text else None


def _tariffs(model: str, row: Mapping[str, Any], origin: str, item: str = "{}") -> tuple[Tariff, ...]:
    """Of a row: the one for every prompt, then those of long ones, in the order of their lengths."""
    name = item.format(model.replace("ft:", "ft-", 1))
    tariffs = [_tariff(name, 0, row, f"{origin}: {model}")]
    for longer in sorted(row.get("long_context", ()), key=lambda longer: int(longer["above"])):
        tariffs.append(_tariff(name, int(longer["above"]), longer, f"{origin}: {model}"))
    return tuple(tariffs)


def _tariff(name: str, above: int, row: Mapping[str, Any], where: str) -> Tariff:
    def rate(price: object, key: str, item: str, unit: str, per: int = 1) -> Rate:
        return _rate(price, f"{where}: {key}", item.format(name) + (", long context" if above else ""), unit, per)

    tokens = {}
    for field, (key, item, otherwise) in _TOKENS.items():
        price = row.get(key, row.get(otherwise) if otherwise else None)
        if price is not None:
            tokens[field] = rate(price, key, item, "tokens", _PER_MILLION)
    sizes = row.get("per_image", {})
    if not isinstance(sizes, Mapping):
        sizes = {"": sizes}
    images = {
        size: rate(price, "per_image", f"{{}}, {size}" if size else "{}, images", "images")
        for size, price in sizes.items()
    }
    characters = row.get("per_million_characters")
    minute = row.get("per_minute")
    return Tariff(
        above,
        tokens,
        tuple(map(tokens.get, _TOKENS)),
        images,
        rate(characters, "per_million_characters", "{}, characters", "characters", _PER_MILLION)
        if characters is not None
        else None,
        rate(minute, "per_minute", "{}, audio", "seconds", 60) if minute is not None else None,
    )


def _rate(price: object, where: str, item: str, unit: str, per: int) -> Rate:
    """per: units that the price is for."""
    if isinstance(price, float):
        raise TypeError(f"{where} is a float: prices are exact.")
    try:
        dollars = Decimal(price)  # type: ignore[arg-type]
        sound = dollars.is_finite() and dollars >= 0
    except (ArithmeticError, TypeError, ValueError):
        sound = False
    if not sound:
        raise SettingsError(f"{where} is {str(price)!r}: a price is a number of US dollars, zero or more.")
    numerator, denominator = dollars.as_integer_ratio()
    atto = -(-numerator * _ATTO // (denominator * per))
    return Rate(item, unit, atto, Decimal(atto).scaleb(-18).normalize())


def _halved(row: Mapping[str, Any]) -> dict[str, Any]:
    """A row's prices in a batch: half for text, no discount for cached input, the rest as it is."""
    halved = {key: value for key, value in row.items() if key not in ("cached_input", "cache_write")}
    for key in ("input", "output"):
        if key in halved:
            halved[key] = Decimal(halved[key]) / 2
    return halved
