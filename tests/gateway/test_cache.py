"""What is the same question, which answers are kept and for how long, and what a request may wish."""

import asyncio
import json
import random
from collections.abc import Sequence
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from homeport.backends.capabilities import Call, Frame, Usage
from homeport.errors import InvalidRequest
from homeport.gateway import cache_key
from homeport.gateway.cache_policy import Policy
from homeport.gateway.cache_wish import wish
from homeport.gateway.configurations import Configurations
from homeport.gateway.kept import Kept, Store, is_whole
from homeport.gateway.keyring import Models, Principal
from homeport.gateway.routing import Target
from homeport.settings import Cache, Model, Settings, Upstream
from homeport.store.shared import MemoryShared
from tests import clocks

WHO = Principal("key_1", "proj", "org")
FAR = Target("far", None, "m", "far")
SCOPE = cache_key.scope(WHO, "chat.completions", "m", [FAR], [b"1"])


def key(body: str | bytes, *, stream: bool = False) -> bytes | None:
    raw = body.encode() if isinstance(body, str) else body
    asked = cache_key.question(Call("chat.completions", "r", "m", raw, stream=stream))
    return None if asked is None else cache_key.key(SCOPE, asked)


texts = st.text(st.characters(exclude_categories=["Cs"]))
values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | texts,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4),
    max_leaves=12,
)


def written(value: Any, dice: random.Random) -> str:
    """The same JSON, written in another way."""
    space = dice.choice(["", " ", "\n\t"])
    if isinstance(value, dict):
        members = list(value.items())
        dice.shuffle(members)
        return "{" + ",".join(f"{space}{_text(k, dice)}{space}:{written(v, dice)}" for k, v in members) + space + "}"
    if isinstance(value, list):
        return "[" + ",".join(space + written(one, dice) for one in value) + space + "]"
    if isinstance(value, str):
        return _text(value, dice)
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) < 2**53:
        return dice.choice([str(value), f"{value}.0", f"{value}e0", f"{value}.000E+0"])
    return json.dumps(value)


def _text(value: str, dice: random.Random) -> str:
    return json.dumps(value, ensure_ascii=dice.random() < 0.5)


@given(st.dictionaries(texts, values, max_size=5), st.randoms())
def test_how_a_question_is_written_does_not_matter(fields: dict[str, Any], dice: random.Random) -> None:
    assert key(written(fields, dice)) == key(json.dumps(fields)) is not None


@given(values, values)
def test_other_values_are_other_questions(one: Any, other: Any) -> None:
    """As JSON tells values apart: true is no 1, and 1.0 is 1."""
    same = msgspec.json.encode(_plain(one), order="sorted") == msgspec.json.encode(_plain(other), order="sorted")
    assert (key(json.dumps({"x": [one]})) == key(json.dumps({"x": [other]}))) is same


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _plain(one) for name, one in value.items()}
    if isinstance(value, list):
        return [_plain(one) for one in value]
    return int(value) if isinstance(value, float) and value.is_integer() and abs(value) < 2**53 else value


@pytest.mark.parametrize("body", ["[1]", '"x"', '{"a": 1e999}', f'{{"a": {2**64}}}', "[" * 5000, b'{"a": "\xff"}', "{"])
def test_what_cannot_be_compared_has_no_key(body: str | bytes) -> None:
    assert key(body) is None


def test_whose_answers_are_shared() -> None:
    def scope(who: Principal = WHO, endpoint: str = "chat", name: str = "m", **target: Any) -> bytes:
        configuration = target.pop("configuration", b"1")
        targets = [Target(**{"name": "far", "backend": None, "model": "m", "owner": "x", **target})]
        return cache_key.scope(who, endpoint, name, targets, [configuration])

    def owner(project: str = "proj", own: list[str] | None = None) -> Principal:
        return Principal("key_2", project, "org", models=Models.of(None, own))

    assert scope() == scope(owner())
    others = [
        scope(),
        scope(owner("other")),
        scope(owner(own=["m"])),
        scope(endpoint="completions"),
        scope(name="alias"),
        scope(model="other"),
        scope(name="near"),
        scope(local=True),
        scope(configuration=b"2"),
    ]
    assert len(set(others)) == len(others)


def test_which_targets_matters_and_not_their_order() -> None:
    near = Target("near", None, "m", "x")
    both = cache_key.scope(WHO, "chat", "m", [FAR, near], [b"1", b"2"])
    assert both == cache_key.scope(WHO, "chat", "m", [near, FAR], [b"2", b"1"])
    assert both != cache_key.scope(WHO, "chat", "m", [FAR, near], [b"2", b"1"])


def test_another_configuration_is_another_backend(tmp_path: Any) -> None:
    weights = tmp_path / "a.gguf"
    weights.write_bytes(b"1")

    def of(target: Target, **settings: Any) -> bytes:
        return Configurations(Settings(**settings)).of(target)

    def far(**upstream: Any) -> bytes:
        return of(FAR, upstreams={"far": Upstream(**upstream)})

    assert far() == far(api_key="sk-1", connections=7, total_seconds=1.0, models=("m",))
    assert (
        len({far(), far(base_url="http://other/v1"), far(organization="o"), far(project="p"), far(kind="azure")}) == 5
    )

    local = Target("local", None, "house", "homeport", local=True)

    def house(**model: Any) -> bytes:
        return of(local, models={"house": Model(path=str(weights), **model)})

    before = house()
    assert before == house(threads=3, parallel=2, queue=9)
    assert before != house(context_length=99)
    weights.write_bytes(b"22")
    assert before != house()


def frames(*data: bytes) -> list[Frame]:
    return [Frame(one) for one in data]


def chunk(*choices: tuple[int, str | None]) -> bytes:
    listed: list[dict[str, Any]] = [{"index": index, "delta": {}, "finish_reason": reason} for index, reason in choices]
    return b"data: " + json.dumps({"choices": listed}).encode() + b"\n\n"


@pytest.mark.parametrize(
    ("given_frames", "choices", "whole"),
    [
        (frames(chunk((0, None)), chunk((0, "stop"))), 1, True),
        (frames(chunk((0, None)) + chunk((0, "stop")) + b'data: {"choices":[],"usage":{}}\n\n'), 1, True),
        (frames(chunk((0, None), (1, None)), chunk((1, "stop")), chunk((0, "length"))), 2, True),
        (frames(chunk((0, None))), 1, False),
        (frames(chunk((0, "stop"))), 2, False),
        (frames(chunk((1, "stop"))), 1, False),
        (frames(chunk((0, "stop"), (1, None))), 1, False),
        (frames(chunk((0, "content_filter"))), 1, False),
        (frames(chunk((0, "stop")), b"data: {torn\n\n"), 1, False),
        (frames(chunk((0, "stop")), b'data: {"error": {"message": "x"}}\n\n'), 1, False),
    ],
)
def test_a_stream_is_whole_when_every_choice_has_ended(given_frames: list[Frame], choices: int, whole: bool) -> None:
    assert is_whole(given_frames, stream=True, choices=choices) is whole


USAGE = Usage(3, 4, cached=1)


def kept(*data: bytes, request_id: str = "req_1") -> Kept:
    made = frames(*data)
    made[0].model, made[0].service_tier, made[-1].usage = "ran", "flex", USAGE
    return Kept.of(made, request_id)


@given(st.lists(st.binary(min_size=1, max_size=30_000), min_size=1, max_size=20))
def test_what_is_kept_comes_again_with_all_that_is_known_of_it(data: list[bytes]) -> None:
    again = kept(*data).frames()
    assert b"".join(frame.data for frame in again) == b"".join(data)
    assert (again[0].model, again[0].service_tier, again[-1].usage) == ("ran", "flex", USAGE)
    assert len(again) <= 1 + sum(map(len, data)) // 30_000


@pytest.fixture
def time(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    now = [1000.0]
    clocks.own(monkeypatch, "gateway.kept", "store.shared", monotonic=lambda: now[0], now=lambda: now[0])
    return now


def names(store: Store, *wanted: bytes) -> list[bytes]:
    return [name for name in wanted if store.near(name) is not None]


def test_answers_grow_old(time: list[float]) -> None:
    store = Store(max_bytes=100_000)
    store.keep(b"1", kept(b"a"), 60)
    time[0] += 59
    found = store.near(b"1")
    assert found is not None
    assert found.age == 59
    time[0] += 1
    assert store.near(b"1") is None
    assert (len(store), store.bytes) == (0, 0)


def test_what_nobody_asks_for_makes_room_and_one_does_not_push_out_all() -> None:
    store = Store(max_bytes=16_000)
    for name in (b"1", b"2", b"3", b"4", b"5", b"6", b"7"):
        store.keep(name, kept(b"x" * 1300), 60)
    store.near(b"1")
    store.keep(b"8", kept(b"x" * 1300), 60)
    store.keep(b"9", kept(b"x" * 1300), 60)
    assert names(store, b"1", b"2", b"3", b"8", b"9") == [b"1", b"3", b"8", b"9"]
    store.keep(b"large", kept(b"x" * 2000), 60)
    assert names(store, b"large", b"1") == [b"1"]
    assert store.bytes <= 16_000
    store.keep(b"1", kept(b"x" * 1300), 60)
    assert len(store) == 8


def test_two_processes_share_and_each_looks_again_after_a_while(time: list[float]) -> None:
    shared = MemoryShared()
    one, other = (Store(max_bytes=100_000, shared=shared, process_seconds=5) for _ in range(2))
    key = bytes(32)

    async def share() -> None:
        one.keep(key, kept(b"a", b"b"), 60)
        await one.share(key, kept(b"a", b"b"), 60)
        assert other.near(key) is None
        found = await other.far(key, 60)
        assert found == kept(b"a", b"b")
        assert other.near(key) == found
        time[0] += 5
        assert other.near(key) is None
        assert await other.far(key, 60) is not None
        time[0] += 50
        found = await other.far(key, 60)
        assert found is not None
        assert found.age == 55
        assert await other.far(key, 30) is None, "it is too old for these settings"
        await other.clear()
        assert await one.far(key, 60) is None

    asyncio.run(share())


@pytest.mark.parametrize("value", [b"", b"\xff\x00", msgspec.msgpack.encode((99, "r", 1.0, (b"a",)))])
def test_what_another_release_has_kept_is_not_there(value: bytes) -> None:
    async def look() -> None:
        shared = MemoryShared()
        await shared.set("answers:" + bytes(32).hex(), value, 60)
        assert await Store(max_bytes=100_000, shared=shared).far(bytes(32), 1e12) is None

    asyncio.run(look())


@given(st.binary(max_size=40))
def test_any_cache_control_is_read(standard: bytes) -> None:
    found = wish(b"", standard)
    assert found.write or not (found.read or found.on)


@pytest.mark.parametrize("value", [b"yes", b"on off", b"on,exact", b"\xff", b"x" * 5000])
def test_any_other_value_of_ours_is_refused(value: bytes) -> None:
    with pytest.raises(InvalidRequest, match="'x-homeport-cache'") as refused:
        wish(value, b"")
    assert len(refused.value.message) < 250


def test_the_settings_say_which_requests_it_is_for() -> None:
    policy = Policy(Cache(models=("gpt-*",), projects=("proj_a",), ttl_by_model={"gpt-4*": 5.0, "*-mini": 7.0}))
    asked: Sequence[tuple[str, str]] = [("proj_b", "gpt-4o"), ("proj_a", "x"), ("proj_b", "x"), ("proj_b", "my-gpt-4")]
    assert [policy.uses(project, model) for project, model in asked] == [True, True, False, False]
    assert [policy.ttl(model) for model in ("gpt-4o-mini", "o1-mini", "x")] == [5.0, 7.0, 3600.0]
    assert Policy(Cache(enabled=True)).uses("anybody", "anything")
    assert not Policy(Cache()).unasked
