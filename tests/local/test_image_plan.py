"""Requests for pictures against what an engine can do, for any engine: what is planned can be drawn, and what cannot be
is a 400."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as some

from homeport.backends.drawing import DrawingCard
from homeport.backends.local import image_bill
from homeport.backends.local.image_plan import Plan, plan_edit, plan_generation, plan_variation
from homeport.errors import InvalidRequest

NAMES = ("dall-e-2", "dall-e-3", "gpt-image-1", "gpt-image-2-2026-04-21", "chatgpt-image-latest", "mine")


@some.composite
def cards(draw: some.DrawFn) -> DrawingCard:
    multiple = draw(some.sampled_from([1, 8, 16, 64]))
    least, native, most = sorted(draw(some.lists(some.integers(1, 64), min_size=3, max_size=3)))
    flags = {name: draw(some.booleans()) for name in ("transparent", "unfinished", "steers")}
    return DrawingCard(
        prompt=100,
        smallest=least * multiple,
        largest=most * multiple,
        multiple=multiple,
        native=native * multiple,
        edits=True,
        varies="any",
        **flags,
    )


def maybe(*values: Any) -> some.SearchStrategy[Any]:
    return some.sampled_from([None, None, *values])


SIZES = maybe("auto", "256x256", "1024x1024", "1792x1024", "1536x864", "64x64", "0x9", "99999x1", "x", "", "９x９")
COMMON = {"model": some.just("m"), "n": maybe(1, 2, 10), "size": SIZES, "seed": maybe(0, 2**63 - 1, -1, 2**64)}
WANTED = {
    **COMMON,
    "prompt": some.sampled_from(["a house", "", "a" * 101]),
    "quality": maybe("standard", "hd", "low", "high", "auto"),
    "response_format": maybe("url", "b64_json"),
    "output_format": maybe("png", "jpeg", "webp"),
    "output_compression": maybe(0, 100),
    "stream": maybe(True, False),
    "partial_images": maybe(0, 3),
    "moderation": maybe("low"),
    "background": maybe("transparent", "opaque", "auto"),
    "style": maybe("vivid", "natural"),
}
FILE = {"filename": None, "bytes": 1, "sha256": ""}


def check(plan: Plan, card: DrawingCard, picture: tuple[int, int]) -> None:
    sized = plan.sized(*picture, card)
    wish = sized.wish(plan.count - 1)
    for side in (wish.width, wish.height):
        assert card.smallest <= side <= card.largest
        assert side % card.multiple == 0
    assert 0 <= wish.seed < 2**63
    assert not wish.transparent or (card.transparent and plan.output_format != "jpeg")
    assert not wish.unfinished or (card.unfinished and plan.stream)
    assert wish.style is None or card.steers
    if plan.size is not None:
        assert sized is plan, "what was asked for is what is drawn"


def tried(plan: Callable[[bytes, str, DrawingCard], Plan], body: Any, name: str, card: DrawingCard) -> Plan | None:
    """None: it is refused, and the refusal names what is wrong."""
    param: str | None = ""
    try:
        return plan(json.dumps(body).encode(), name, card)
    except InvalidRequest as error:
        param = error.param
    assert param in (*WANTED, "model")
    return None


@given(body=some.fixed_dictionaries(WANTED), name=some.sampled_from(NAMES), card=cards())
def test_a_generation_that_is_planned_can_be_drawn(body: Any, name: str, card: DrawingCard) -> None:
    plan = tried(plan_generation, body, name, card)
    if plan is not None:
        assert plan.size is not None
        check(plan, card, (1, 1))


@given(
    body=some.fixed_dictionaries(COMMON),
    name=some.sampled_from(NAMES),
    card=cards(),
    picture=some.tuples(some.integers(1, 10_000), some.integers(1, 10_000)),
)
def test_what_starts_from_a_picture_can_be_drawn(
    body: Any, name: str, card: DrawingCard, picture: tuple[int, int]
) -> None:
    for plan in (
        tried(plan_edit, {**body, "prompt": "a", "image": [FILE]}, name, card),
        tried(plan_variation, {**body, "image": FILE}, name, card),
    ):
        if plan is not None:
            check(plan, card, picture)


CARD = DrawingCard(prompt=100, smallest=64, largest=2048, multiple=8, native=512, edits=True, varies="any")


@pytest.mark.parametrize(
    ("name", "picture", "size"),
    [
        ("gpt-image-1", (1000, 1000), (512, 512)),
        ("gpt-image-1", (1600, 1000), (768, 512)),
        ("gpt-image-1", (900, 1000), (512, 512)),
        ("gpt-image-1", (10, 1000), (512, 768)),
        ("dall-e-2", (300, 300), (1024, 1024)),
        ("mine", (300, 203), (304, 200)),
        ("mine", (4096, 2048), (2048, 1024)),
        ("mine", (30, 60), (64, 128)),
    ],
)
def test_the_size_of_an_edit_goes_by_its_picture(name: str, picture: tuple[int, int], size: tuple[int, int]) -> None:
    body = json.dumps({"prompt": "a", "image": [FILE]}).encode()
    assert plan_edit(body, name, CARD).sized(*picture, CARD).size == size


@pytest.mark.parametrize(
    ("size", "tokens"),
    [
        ((512, 512), 194),
        ((1024, 1024), 194),
        ((1024, 1536), 323),
        ((8, 8), 194),
        ((1000, 4000), 581),
        ((10, 5000), 581),
    ],
)
def test_tokens_of_a_picture_that_is_given(size: tuple[int, int], tokens: int) -> None:
    assert image_bill.of_given(*size) == tokens
    assert image_bill.of_given(*size[::-1]) == tokens


def test_tokens_of_a_picture_that_is_made() -> None:
    assert image_bill.of_made(1536, 1024, "high") == 6208
    assert image_bill.of_made(1024, 1536, "high") == 6240
    assert image_bill.of_made(512, 512, "low") == 68
