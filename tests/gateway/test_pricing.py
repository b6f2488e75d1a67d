"""Prices: the published figures, exact; bills that add up; and a worst case that is one."""

import importlib.util
import json
import tomllib
from collections.abc import Mapping
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from homeport.errors import SettingsError
from homeport.gateway import pricing
from homeport.gateway.pricing import Cost, Line, Price, Prices, Units

FOLDER = Path(pricing.__file__).parent
ROWS = tomllib.loads((FOLDER / pricing.LISTED).read_text("utf-8"), parse_float=Decimal)["price"]
TOKENS = (
    *("input", "cached_input", "cache_write", "input_audio", "input_image"),
    *("output", "output_audio", "output_image", "training"),
)
#: What the prices of a row are for, and what they may then be called.
UNITS = {
    "million tokens": set(TOKENS),
    "image": {"per_image"},
    "minute": {"per_minute"},
    "million characters": {"per_million_characters"},
}
TODAY = datetime(2024, 12, 18, tzinfo=UTC).timestamp()
MILLION = 1_000_000
DOLLAR = 10**12


@pytest.fixture(scope="module")
def prices(tmp_path_factory: pytest.TempPathFactory) -> Prices:
    """Ours alone, whether or not this checkout was built with others."""
    folder = tmp_path_factory.mktemp("prices")
    (folder / pricing.LISTED).write_bytes((FOLDER / pricing.LISTED).read_bytes())
    return Prices.load(folder=folder)


def of(prices: Prices, model: str, at: float = TODAY) -> Price:
    price = prices.find(model, at)
    assert price is not None, model
    return price


def dollars(cost: Cost | None) -> Decimal:
    assert cost is not None
    return Decimal(cost.pico).scaleb(-12)


def day(text: str) -> float:
    return datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()


@pytest.mark.parametrize("row", ROWS, ids=lambda row: f"{row['model']}@{row['valid_from']}")
def test_every_row_has_its_unit_source_and_day(row: dict[str, Any]) -> None:
    assert row["source"]
    assert isinstance(row["valid_from"], date)
    named = row.keys() & {name for names in UNITS.values() for name in names}
    assert named
    assert named <= UNITS[row["unit"]]
    assert row.keys() - named <= {
        *("model", "also", "unit", "valid_from", "source"),
        *("half_in_batch", "modes", "context", "max_output"),
    }


def test_no_name_has_two_prices_on_one_day() -> None:
    days = [(name, row["valid_from"]) for row in ROWS for name in (row["model"], *row.get("also", ()))]
    assert len(days) == len(set(days))


@pytest.mark.parametrize(
    ("model", "input", "output"),
    [
        ("gpt-4", "30", "60"),
        ("gpt-4-32k", "60", "120"),
        ("gpt-3.5-turbo", "0.50", "1.50"),
        ("gpt-3.5-turbo-16k", "3", "4"),
        ("text-embedding-ada-002", "0.10", None),
        ("text-embedding-3-small", "0.02", None),
        ("text-embedding-3-large", "0.13", None),
        ("gpt-4o", "2.50", "10"),
        ("gpt-4o-mini", "0.15", "0.60"),
        ("gpt-4-turbo", "10", "30"),
        ("o1-mini", "3", "12"),
    ],
)
def test_list_prices_of_a_million_tokens(prices: Prices, model: str, input: str, output: str | None) -> None:
    price = of(prices, model)
    assert dollars(price.cost(Units(input=MILLION))) == Decimal(input)
    if output is None:
        assert price.cost(Units(output=1)) is None
    else:
        assert dollars(price.cost(Units(output=MILLION))) == Decimal(output)


@pytest.mark.parametrize(
    ("model", "size", "picture"),
    [
        ("dall-e-3", "1024x1024", "0.040"),
        ("dall-e-3", "1024x1792", "0.080"),
        ("dall-e-3", "1792x1024", "0.080"),
        ("dall-e-3", "hd 1024x1024", "0.080"),
        ("dall-e-3", "hd 1792x1024", "0.120"),
        ("dall-e-2", "256x256", "0.016"),
    ],
)
def test_list_prices_of_pictures(prices: Prices, model: str, size: str, picture: str) -> None:
    price = of(prices, model)
    assert price.cost(Units(images=3, size=size)) == Cost(
        (Line(f"{model}, {size}", 3, "images", Decimal(picture), int(3 * Decimal(picture) * DOLLAR)),),
        int(3 * Decimal(picture) * DOLLAR),
    )
    assert price.cost(Units(images=1, size="64x64")) is None


def test_audio_is_billed_by_the_second_and_speech_by_the_character(prices: Prices) -> None:
    whisper = of(prices, "whisper-1")
    assert dollars(whisper.cost(Units(milliseconds=60_000))) == Decimal("0.006")
    assert whisper.cost(Units(milliseconds=9_499)) == whisper.cost(Units(milliseconds=8_500))
    assert whisper.cost(Units(milliseconds=9_500)) == Cost(
        (Line("whisper-1, audio", 10, "seconds", Decimal("0.0001"), DOLLAR // 1000),), DOLLAR // 1000
    )
    assert dollars(of(prices, "tts-1").cost(Units(characters=MILLION))) == 15
    assert dollars(of(prices, "tts-1-hd").cost(Units(characters=1))) == Decimal("0.00003")


def test_lines_are_named_as_on_openais_costs_page(prices: Prices) -> None:
    cost = of(prices, "gpt-4o").cost(Units(input=1000, cached=200, output=30))
    assert cost is not None
    assert cost.lines == (
        Line("gpt-4o, input", 1000, "tokens", Decimal("0.0000025"), 2_500_000_000),
        Line("gpt-4o, cached input", 200, "tokens", Decimal("0.00000125"), 250_000_000),
        Line("gpt-4o, output", 30, "tokens", Decimal("0.00001"), 300_000_000),
    )
    assert cost.pico == 3_050_000_000
    spoken = of(prices, "gpt-4o-audio-preview").cost(Units(input_audio=10, output_audio=10))
    tuned = of(prices, "ft:gpt-4o-2024-08-06:home::a1").cost(Units(input=1, training=2))
    assert spoken is not None
    assert tuned is not None
    assert [line.item for line in spoken.lines] == [
        "gpt-4o-audio-preview audio, input",
        "gpt-4o-audio-preview audio, output",
    ]
    assert [line.item for line in tuned.lines] == ["ft-gpt-4o-2024-08-06, input", "ft-gpt-4o-2024-08-06, training"]


def test_classes_without_a_price_of_their_own(prices: Prices) -> None:
    """Pictures and cached tokens are text where nothing else is said; audio is not."""
    price = of(prices, "gpt-4")
    plain = price.cost(Units(input=100, output=10))
    other = price.cost(Units(cached=70, input_image=20, cache_write=10, output_image=10))
    assert plain is not None
    assert other is not None
    assert plain.pico == other.pico
    assert price.cost(Units(input=100, input_audio=1)) is None
    assert price.cost(Units(images=1)) is None
    assert price.cost(Units(milliseconds=1000)) is None


def test_nothing_used_costs_nothing_and_negative_numbers_are_nothing(prices: Prices) -> None:
    assert of(prices, "gpt-4").cost(Units()) == Cost((), 0)
    assert of(prices, "gpt-4").cost(Units(input=-5, images=-1, milliseconds=-9000)) == Cost((), 0)
    assert dollars(of(prices, "omni-moderation-latest").cost(Units(input=50))) == 0


def test_training_is_priced_with_the_model_that_comes_out_of_it(prices: Prices) -> None:
    for base, dollars_a_million in (
        ("gpt-4o-2024-08-06", 25),
        ("gpt-4o-mini-2024-07-18", 3),
        ("gpt-3.5-turbo-0125", 8),
    ):
        assert dollars(of(prices, "ft:" + base).cost(Units(training=MILLION))) == dollars_a_million
    assert of(prices, "gpt-4o").cost(Units(training=1)) is None


def test_batches_take_half_where_openai_does(prices: Prices) -> None:
    used = Units(input=1001, output=333)
    for model in ("gpt-4o", "gpt-4o-mini", "gpt-4", "gpt-3.5-turbo-0125", "davinci-002", "ft:gpt-3.5-turbo"):
        whole, half = of(prices, model).cost(used), of(prices, model).cost(used, batch=True)
        assert whole is not None
        assert half is not None
        assert whole.pico == 2 * half.pico
        assert half.lines[0].item == f"batch | {whole.lines[0].item}"
    embedded = of(prices, "text-embedding-3-small")
    assert dollars(embedded.cost(Units(input=MILLION), True)) == Decimal("0.01")
    for model in ("gpt-3.5-turbo-1106", "gpt-4o-audio-preview", "o1-preview"):
        assert of(prices, model).cost(used, batch=True) == of(prices, model).cost(used)
    image = Units(images=1, size="1024x1024")
    assert of(prices, "dall-e-3").cost(image, batch=True) == of(prices, "dall-e-3").cost(image)


def test_a_batch_has_no_second_discount_for_cached_input(prices: Prices) -> None:
    price = of(prices, "ft:gpt-4o-mini-2024-07-18")
    assert dollars(price.cost(Units(cached=MILLION))) == Decimal("0.15")
    assert price.cost(Units(cached=MILLION), batch=True) == Cost(
        (Line("batch | ft-gpt-4o-mini-2024-07-18, cached input", MILLION, "tokens", Decimal("1.5E-7"), 15 * 10**10),),
        15 * 10**10,
    )
    assert dollars(of(prices, "gpt-4o").cost(Units(cached=MILLION), batch=True)) == Decimal("1.25")


def test_service_tiers_have_prices_of_their_own(prices: Prices) -> None:
    price = of(prices, "gpt-4o")
    assert dollars(price.cost(Units(input=MILLION), service_tier="priority")) == Decimal("4.25")
    assert price.cost(Units(input=1), service_tier="default") == price.cost(Units(input=1))
    assert price.cost(Units(input=1), service_tier="batch") == price.cost(Units(input=1)), (
        "no answer says that of itself"
    )


def test_the_price_is_that_of_its_day(prices: Prices) -> None:
    before, after = of(prices, "gpt-4o", day("2024-10-02") - 0.001), of(prices, "gpt-4o", day("2024-10-02"))
    assert (before.rule, after.rule) == ("gpt-4o@2024-05-13 prices.toml", "gpt-4o@2024-10-02 prices.toml")
    assert dollars(before.cost(Units(input=MILLION))) == 5
    assert dollars(after.cost(Units(input=MILLION))) == Decimal("2.50")
    assert prices.find("gpt-4o", day("2024-05-12")) is None
    assert of(prices, "gpt-3.5-turbo", day("2024-01-01")).context == 4096
    assert of(prices, "gpt-3.5-turbo").context == 16385


def test_an_exact_name_goes_before_its_family(prices: Prices) -> None:
    assert of(prices, "gpt-4o-2024-05-13").rule == "gpt-4o-2024-05-13@2024-05-13 prices.toml"
    assert of(prices, "gpt-4-0613") is of(prices, "gpt-4")
    assert of(prices, "gpt-3.5-turbo-0125").model == "gpt-3.5-turbo-0125"
    assert of(prices, "gpt-4o-mini-2024-07-18") is of(prices, "gpt-4o-mini")
    assert of(prices, "ft:gpt-3.5-turbo-0125:home:name:a1") is of(prices, "ft:gpt-3.5-turbo")
    assert of(prices, "ft:gpt-4o-mini:home::a1") is of(prices, "ft:gpt-4o-mini-2024-07-18")
    assert of(prices, "gpt-4o-mini-2024-07-18.ft-a1-name") is of(prices, "ft:gpt-4o-mini-2024-07-18"), "as Azure has it"


def test_a_model_of_this_machine_costs_what_the_operator_says() -> None:
    prices = Prices.load({"gpt-4": {"input": 1, "output": 2}})
    assert prices.find("gpt-4o", TODAY, listed=False) is None
    assert prices.find("gpt-4o", TODAY) is not None
    assert prices.find("gpt-4-0613", TODAY, listed=False) is of(prices, "gpt-4")


@pytest.mark.parametrize("name", ["smollm2-135m-instruct", "", "gpt", "gpt-4o-large", "ft:gpt-4o-large:a::b", "ft:"])
def test_a_name_that_nobody_knows_has_no_price(prices: Prices, name: str) -> None:
    assert prices.find(name, TODAY) is None


def test_the_operators_prices_go_first() -> None:
    prices = Prices.load(
        {
            "my-model": {"input": Decimal("0.5"), "output": "1.5", "cached_input": None, "half_in_batch": True},
            "gpt-4": {"input": 1, "output": 2, "max_output": 100},
            "painter": {"per_image": Decimal("0.01")},
            "painter-2": {"per_image": {"1024x1024": Decimal("0.02")}},
            "ears": {"per_minute": Decimal("0.003")},
            "mouth": {"per_million_characters": 5},
        }
    )
    mine = of(prices, "my-model", 0)
    assert mine.rule == "my-model settings"
    assert dollars(mine.cost(Units(input=MILLION, cached=MILLION, output=MILLION))) == Decimal("2.5")
    assert dollars(mine.cost(Units(input=MILLION), batch=True)) == Decimal("0.25")
    assert of(prices, "gpt-4-0613").rule == "gpt-4 settings"
    assert of(prices, "gpt-4").worst(0) == 200 * MILLION
    assert of(prices, "gpt-4o").rule == "gpt-4o@2024-10-02 prices.toml"
    assert dollars(of(prices, "painter").cost(Units(images=2, size="1x1"))) == Decimal("0.02")
    assert of(prices, "painter-2").cost(Units(images=2, size="1x1")) is None
    assert dollars(of(prices, "ears").cost(Units(milliseconds=30_000))) == Decimal("0.0015")
    assert dollars(of(prices, "mouth").cost(Units(characters=200_000))) == 1


def test_a_price_that_does_not_divide_is_still_what_it_says_for_the_whole() -> None:
    price = of(Prices.load({"ears": {"per_minute": Decimal("0.02")}}), "ears")
    assert dollars(price.cost(Units(milliseconds=1000))) == Decimal("0.000333333333")
    assert dollars(price.cost(Units(milliseconds=3_600_000))) == Decimal("1.20")


@pytest.mark.parametrize("price", ["-1", "NaN", "Infinity", "cheap", [1]])
def test_an_override_that_is_no_price_is_refused(price: object) -> None:
    with pytest.raises(SettingsError, match="settings: m: input is .*a price is a number of US dollars, zero or more"):
        Prices.load({"m": {"input": price}})


def test_a_float_is_no_price() -> None:
    with pytest.raises(TypeError, match="float"):
        Prices.load({"m": {"input": 0.1}})


def test_the_worst_case_of_a_request(prices: Prices) -> None:
    assert of(prices, "gpt-4").worst(1000, 500) == 60 * DOLLAR // 1000
    assert of(prices, "gpt-4").worst(1000) == 1000 * 30 * MILLION + 8192 * 60 * MILLION
    assert of(prices, "gpt-4").worst(1000, choices=3) == 1000 * 30 * MILLION + 3 * 8192 * 60 * MILLION
    assert of(prices, "gpt-4").worst(1000, 500, batch=True) == 30 * DOLLAR // 1000
    for asked in ("", "auto", "priority", "fast", "null"):
        assert of(prices, "gpt-4o").worst(1000, 500, service_tier=asked) == 1000 * 4_250_000 + 500 * 17_000_000
    for asked in ("default", "flex", "scale"):
        assert of(prices, "gpt-4o").worst(1000, 500, service_tier=asked) == 1000 * 2_500_000 + 500 * 10_000_000
    assert of(prices, "text-embedding-3-small").worst(MILLION) == DOLLAR // 50
    assert of(Prices.load({"m": {"input": 1, "output": 1}}), "m").worst(0) == pricing.DEFAULT_MAX_OUTPUT * MILLION


UNIT_NAMES = [name for name in Units.__struct_fields__ if name != "size"]
used = st.builds(Units, **{name: st.integers(0, 10**9) for name in UNIT_NAMES if name != "images"})
amounts = st.decimals(min_value=0, max_value=1000, places=8)
anything = st.fixed_dictionaries(dict.fromkeys(TOKENS, amounts)).map(
    lambda row: Price("m", row | {"half_in_batch": True}, "test")
)
listed = st.sampled_from(
    [price for price in Prices.load() if {"input", "output"} <= price.modes["standard"][0].tokens.keys()]
)


def text_of(units: Units) -> Units:
    return Units(input=units.input, cached=units.cached, cache_write=units.cache_write, output=units.output)


def plus(one: Units, other: Units) -> Units:
    return Units(**{name: getattr(one, name) + getattr(other, name) for name in UNIT_NAMES})


@given(anything, used, st.booleans())
def test_a_bill_is_the_sum_of_its_lines_and_its_lines_can_be_checked(price: Price, units: Units, batch: bool) -> None:
    units = plus(units, Units())
    units.characters = units.milliseconds = 0
    cost = price.cost(units, batch)
    assert cost is not None
    assert cost.pico == sum(line.pico for line in cost.lines)
    for line in cost.lines:
        assert 0 <= line.pico <= line.quantity * line.unit_price * DOLLAR < line.pico + 1


@given(listed, used, used)
def test_bills_of_list_prices_add_up(price: Price, one: Units, other: Units) -> None:
    """Every published price of a token is whole picodollars; long prompts cost more, and are not added here."""
    if len(price.modes["standard"]) == 1:
        first, second = price.cost(text_of(one)), price.cost(text_of(other))
        both = price.cost(text_of(plus(one, other)))
        assert first is not None
        assert second is not None
        assert both is not None
        assert both.pico == first.pico + second.pico


@given(anything, used, st.booleans(), st.integers(0, 10**6), st.integers(0, 10**6))
def test_no_bill_is_above_the_worst_case(price: Price, units: Units, batch: bool, more: int, longer: int) -> None:
    units.characters = units.milliseconds = units.training = 0
    answer = units.output + units.output_audio + units.output_image
    cost = price.cost(units, batch)
    assert cost is not None
    assert cost.pico <= price.worst(units.prompt + more, answer + longer, batch)


@given(listed, used, st.sampled_from(["standard", "batch", "flex", "priority"]))
def test_no_bill_of_a_listed_model_is_above_the_worst_case(price: Price, units: Units, mode: str) -> None:
    units = text_of(units)
    batch, tier = mode == "batch", mode if mode in ("flex", "priority") else ""
    cost = price.cost(units, batch, service_tier=tier)
    assert cost is not None
    assert cost.pico <= price.worst(units.prompt, units.output, batch, service_tier=tier)


#: Asked for -> what OpenAI may serve it as.
SERVED = {
    "": ("default", "flex", "scale", "priority", "fast"),
    "auto": ("default", "flex", "scale", "priority", "fast"),
    "default": ("default",),
    "flex": ("flex", "default"),
    "scale": ("scale", "default"),
    "priority": ("priority", "default"),
    "fast": ("priority", "fast", "default"),
}


@given(
    st.sampled_from([price for price in Prices.load() if len(price.modes) > 2]),
    used,
    st.sampled_from([(asked, served) for asked, tiers in SERVED.items() for served in tiers]),
    st.integers(0, 10**6),
)
def test_no_bill_of_any_tier_is_above_the_worst_case(
    price: Price, units: Units, tiers: tuple[str, str], more: int
) -> None:
    asked, served = tiers
    units = text_of(units)
    cost = price.cost(units, service_tier=served)
    assert cost is not None
    assert cost.pico <= price.worst(units.prompt + more, units.output, service_tier=asked)


@given(anything, used)
def test_a_batch_costs_half_of_the_text(price: Price, units: Units) -> None:
    plain = Units(input=2 * units.input, output=2 * units.output)
    whole, half = price.cost(plain), price.cost(Units(input=units.input, output=units.output))
    batch = price.cost(plain, batch=True)
    assert whole is not None
    assert half is not None
    assert batch is not None
    assert abs(whole.pico - 2 * batch.pico) <= 4
    assert abs(batch.pico - half.pico) <= 4


SNAPSHOT = {
    "source": "genai-prices 9.9",
    "license": "MIT",
    "models": [
        {
            "names": ["gpt-5", "gpt-5-codex"],
            "context": 400000,
            "rows": [
                {"input": "9", "output": "90"},
                {
                    "valid_from": "2025-08-07",
                    "input": "1.25",
                    "cached_input": "0.125",
                    "cache_write": "1.5625",
                    "output": "10",
                    "long_context": [{"above": 272000, "input": "2.50", "output": "15"}],
                    "modes": {"batch": {"input": "0.625", "output": "5"}, "flex": {"input": "0.7", "output": "6"}},
                },
            ],
        },
        {"names": ["gpt-4"], "rows": [{"input": "1", "output": "1"}]},
        {"names": ["claude-opus-5"], "rows": [{"input": "5", "output": "25"}]},
    ],
}
LATER = datetime(2026, 1, 1, tzinfo=UTC).timestamp()


@pytest.fixture
def both(tmp_path: Path) -> Prices:
    """Ours, and a snapshot beside them."""
    (tmp_path / pricing.LISTED).write_bytes((FOLDER / pricing.LISTED).read_bytes())
    (tmp_path / pricing.SNAPSHOT).write_text(json.dumps(SNAPSHOT))
    return Prices.load(folder=tmp_path)


def test_the_snapshot_knows_what_our_list_does_not(both: Prices) -> None:
    price = of(both, "gpt-5-codex", LATER)
    assert price is of(both, "gpt-5", LATER)
    assert price.rule == "gpt-5@2025-08-07 genai-prices 9.9"
    assert (price.context, price.max_output) == (400_000, 128_000)
    assert of(both, "gpt-5", TODAY).rule == "gpt-5 genai-prices 9.9"
    assert of(both, "gpt-4").rule == "gpt-4@2023-03-14 prices.toml"
    assert of(both, "claude-opus-5-20260401", LATER) is of(both, "claude-opus-5", LATER)


def test_long_prompts_batches_and_tiers_of_the_snapshot(both: Prices) -> None:
    price = of(both, "gpt-5", LATER)
    short, long = price.cost(Units(input=272_000, output=1)), price.cost(Units(input=271_000, cached=1001, output=1))
    assert short is not None
    assert long is not None
    assert short.pico == 272_000 * 1_250_000 + 10_000_000
    assert long.pico == 272_001 * 2_500_000 + 15_000_000
    assert long.lines[0].item == "gpt-5, input, long context"
    assert dollars(price.cost(Units(output=MILLION), batch=True)) == 5
    assert dollars(price.cost(Units(output=MILLION), service_tier="flex")) == 6
    assert dollars(price.cost(Units(output=MILLION), service_tier="priority")) == 10
    assert price.worst(1000, 1000) == 1000 * 1_562_500 + 1000 * 10_000_000
    assert price.worst(300_000, 1000) == 300_000 * 2_500_000 + 1000 * 15_000_000


@pytest.fixture(scope="module")
def hook() -> ModuleType:
    """hatch_build.py, which runs where hatchling and genai-prices are."""
    pytest.importorskip("hatchling")
    pytest.importorskip("genai_prices")
    spec = importlib.util.spec_from_file_location("hatch_build", Path(__file__).parents[2] / "hatch_build.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_build_takes_the_prices_over_exactly(hook: ModuleType, tmp_path: Path) -> None:
    """What the package reckons itself, for every name, on three days, in every mode."""
    from genai_prices.data import providers
    from genai_prices.types import Usage

    by_id: Mapping[str, Any] = {provider.id: provider for provider in providers}

    def owner(name: str) -> Any:
        """The first provider that spells this name out."""
        for id in hook.PROVIDERS:
            model = by_id[id].find_model(name)
            if model is not None and name in hook._names(model):
                return by_id[id]

    text = hook.snapshot()
    assert text == hook.snapshot()
    (tmp_path / pricing.LISTED).write_text("price = []")
    (tmp_path / pricing.SNAPSHOT).write_text(text)
    prices = Prices.load(folder=tmp_path)
    compared = 0
    for name in (name for model in json.loads(text)["models"] for name in model["names"]):
        provider = owner(name)
        for at in ("2025-01-05", "2026-08-01", "2026-11-20"):
            moment = datetime.fromisoformat(at).replace(tzinfo=UTC)
            price = of(prices, name, moment.timestamp())
            if "input" not in price.modes["standard"][0].tokens:
                continue
            output = 7000 if "output" in price.modes["standard"][0].tokens else 0
            for mode, context in (("standard", None), *hook.MODES.items()):
                for prompt, cached, written in ((1000, 0, 0), (300_000, 100_000, 3000)):
                    reckoned = (
                        provider.find_model(name)
                        .get_prices(moment, context)
                        .calc_price(
                            Usage(
                                input_tokens=prompt,
                                cache_read_tokens=cached,
                                cache_write_tokens=written,
                                output_tokens=output,
                            )
                        )["total_price"]
                    )
                    ours = price.cost(
                        Units(input=prompt - cached - written, cached=cached, cache_write=written, output=output),
                        mode == "batch",
                        service_tier=mode,
                    )
                    if provider.id == "openai" or context is None:
                        assert dollars(ours) == reckoned, (name, at, mode, prompt)
                        compared += 1
    assert compared > 5000


def test_the_build_leaves_out_what_it_cannot_tell(hook: ModuleType) -> None:
    names = {name for model in json.loads(hook.snapshot())["models"] for name in model["names"]}
    assert {"gpt-5", "claude-opus-4-5", "gemini-2.5-pro", "mistral-large-latest", "grok-4", "command-r"} <= names
    hourly, by_pages, at_least_ten_seconds, free = "deepseek-chat", "mistral-ocr-2505", "whisper-large-v3", "moderation"
    assert not names & {hourly, by_pages, at_least_ten_seconds, free}


@pytest.mark.skipif(not (FOLDER / pricing.SNAPSHOT).exists(), reason="this tree was not built")
def test_the_snapshot_of_this_build_can_be_read() -> None:
    prices = Prices.load()
    assert sum("genai-prices" in price.rule for price in prices) > 200
    assert "genai-prices" in of(prices, "gpt-5", LATER).rule
    assert all(price.source for price in prices)
