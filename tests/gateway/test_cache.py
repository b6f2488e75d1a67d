import asyncio
from collections.abc import AsyncGenerator

import msgspec
import pytest

from homeport import clock
from homeport.backends.capabilities import Call, Frame
from homeport.gateway.cache import Cache
from homeport.gateway.keyring import Principal

WHO = Principal("key_1", "default", "org")


def call(**fields: object) -> Call:
    body = msgspec.json.encode({"model": "m", **fields})
    return Call(endpoint="chat.completions", request_id="r", name="m", body=body)


async def answer(*parts: bytes, fail: bool = False) -> AsyncGenerator[Frame, None]:
    for part in parts:
        yield Frame(part)
    if fail:
        raise RuntimeError


def kept(cache: Cache, key: bytes | None, *parts: bytes, fail: bool = False) -> None:
    async def consume() -> None:
        async for _ in cache.keep(key, answer(*parts, fail=fail)):
            pass

    asyncio.run(consume())


def test_the_same_question_in_another_order_is_the_same() -> None:
    cache = Cache(enabled=True, ttl=60, max_bytes=1000)
    one, other = call(temperature=1, seed=2), call(seed=2, temperature=1)
    assert cache.key(WHO, one) == cache.key(WHO, other)
    assert cache.key(WHO, one) != cache.key(WHO, call(temperature=1, seed=3))
    assert cache.key(WHO, one) == cache.key(WHO, call(temperature=1, seed=2, user="somebody"))
    assert cache.key(WHO, one) != cache.key(Principal("key_1", "other", "org"), one)


def test_whole_answers_are_kept_and_failures_are_not() -> None:
    cache = Cache(enabled=True, ttl=60, max_bytes=1000)
    kept(cache, b"good", b"a", b"b")
    with pytest.raises(RuntimeError):
        kept(cache, b"bad", b"a", fail=True)
    found = cache.find(b"good")
    assert found is not None
    assert [frame.data for frame in found] == [b"a", b"b"]
    assert cache.find(b"bad") is None


def test_answers_grow_old_and_the_oldest_make_room(monkeypatch: pytest.MonkeyPatch) -> None:
    time = [0.0]
    monkeypatch.setattr(clock, "monotonic", lambda: time[0])
    cache = Cache(enabled=True, ttl=60, max_bytes=300)
    kept(cache, b"1", b"x" * 50)
    kept(cache, b"2", b"x" * 50)
    kept(cache, b"3", b"x" * 50)
    assert cache.find(b"1") is None
    assert cache.find(b"3") is not None
    time[0] = 61
    assert cache.find(b"3") is None


def test_switched_off_it_has_no_keys() -> None:
    assert Cache(enabled=False, ttl=60, max_bytes=1000).key(WHO, call()) is None
