"""Threads as people have dumped them from OpenAI's API, read from a file: JSON, or JSON Lines.

What one object may be, however it was written down (docs/import.md):

    {"thread": {...}, "messages": [...]}     with "runs" and "run_steps", or without
    {"id": "thread_...", ..., "messages": [...]}
    {"object": "thread", ...}                a thread, whose messages may follow
    {"object": "thread.message", ...}        a message of the thread before it, or of `thread_id`
    {"object": "list", "data": [...]}        a page of these; in the place of any list, too, and so is a list of pages
"""

import json
from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise
from typing import Annotated, Any, BinaryIO, NamedTuple

import msgspec
from msgspec import Meta

#: A time, or tokens: what databases have room for.
Number = Annotated[int, Meta(ge=0, lt=2**53)]


class Exported(NamedTuple):
    """where: in the file. messages: as they were dumped, mostly the newest first. runs: of which each may have its
    "steps"; steps: those that stand by themselves."""

    where: str
    thread: dict[str, Any]
    messages: list[dict[str, Any]]
    runs: list[dict[str, Any]]
    steps: list[dict[str, Any]]


class NotTaken(Exception):
    """A thread that cannot be imported; the message says why."""


class Unreadable(NamedTuple):
    where: str
    why: str


_decoder = msgspec.json.Decoder()


def read(file: BinaryIO) -> Iterator[Exported | Unreadable]:
    """One thread after the other. What cannot be read is told of, and the rest is read."""
    group: Exported | None = None
    for where, value in _values(file):
        if isinstance(value, Unreadable):
            yield value
            continue
        for place, one in _flat(value):
            found = _found(f"{where}, {place}" if place else where, one)
            if isinstance(found, Unreadable):
                yield found
            elif group is not None and _goes_on(group, one, found):
                group.messages.extend(found.messages)
                group.runs.extend(found.runs)
                group.steps.extend(found.steps)
            else:
                if group is not None:
                    yield group
                group = found
    if group is not None:
        yield group


def _values(file: BinaryIO) -> Iterator[tuple[str, Any]]:
    """Each line's; or the whole file's, where its first line is none by itself."""
    number, first = next(((at, line) for at, line in enumerate(file, 1) if line.strip()), (0, b""))
    first = first.removeprefix(b"\xef\xbb\xbf")
    if not first:
        return
    lines: Iterable[bytes] = file
    if isinstance(_decoded("", first), Unreadable):
        rest = file.read()
        whole = _decoded("the file", first + rest)
        if not isinstance(whole, Unreadable):
            yield "the file", whole
            return
        lines = rest.splitlines(keepends=True)
    yield f"line {number}", _decoded(f"line {number}", first)
    for at, line in enumerate(lines, number + 1):
        if line.strip():
            yield f"line {at}", _decoded(f"line {at}", line)


def _decoded(where: str, raw: bytes) -> Any:
    try:
        return _decoder.decode(raw)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        return Unreadable(where, f"it is no JSON ({error})")


def _flat(value: Any, place: str = "") -> Iterator[tuple[str, Any]]:
    """What is in lists and pages, however deep, and where in them."""
    inner = value
    if isinstance(value, dict) and isinstance(value.get("data"), list) and "thread" not in value:
        inner = value["data"]
    if not isinstance(inner, list):
        yield place, value
        return
    for at, one in enumerate(inner, 1):
        yield from _flat(one, f"{place}.{at}" if place else f"number {at}")


def _found(where: str, value: Any) -> Exported | Unreadable:
    if not isinstance(value, dict):
        return Unreadable(where, f"expected an object, and found {json.dumps(value)[:40]}")
    if "thread" in value or "messages" in value:
        thread = value.get("thread", value)
        if not isinstance(thread, dict):
            thread = {"id": thread}
        lists = {name: objects(value.get(name)) for name in ("messages", "runs", "run_steps", "steps")}
        if thread is not value and not lists["messages"]:
            lists["messages"] = objects(thread.get("messages"))
        for name, found in lists.items():
            if found is None:
                return Unreadable(where, f"'{name}' is no list of objects")
        return Exported(
            where,
            thread,
            lists["messages"] or [],
            lists["runs"] or [],
            [*(lists["run_steps"] or []), *(lists["steps"] or [])],
        )
    kind, own = value.get("object"), str(value.get("id"))
    if kind == "thread" or own.startswith("thread_"):
        return Exported(where, value, [], [], [])
    if kind == "thread.message" or {"role", "content"} <= value.keys():
        return Exported(where, _of_its_thread(value), [value], [], [])
    if kind == "thread.run":
        return Exported(where, _of_its_thread(value), [], [value], [])
    if kind == "thread.run.step":
        return Exported(where, _of_its_thread(value), [], [], [value])
    return Unreadable(where, "it is neither a thread nor a message")


def objects(value: Any) -> list[dict[str, Any]] | None:
    """Of a list, a page or several; nothing of null. None: it is none of objects."""
    flat = [one for _, one in _flat(value if value is not None else [])]
    return flat if all(isinstance(one, dict) for one in flat) else None


def _of_its_thread(value: dict[str, Any]) -> dict[str, Any]:
    return {"id": value["thread_id"]} if isinstance(value.get("thread_id"), str) else {}


def _goes_on(group: Exported, value: dict[str, Any], found: Exported) -> bool:
    """Whether it is a message, a run or a step of the thread that was read before it."""
    if "thread" in value or "messages" in value or not (found.messages or found.runs or found.steps):
        return False
    return "id" not in found.thread or found.thread["id"] == group.thread.get("id")


def without_nulls(dumped: dict[str, Any]) -> dict[str, Any]:
    """SDKs dump null for what there was not."""
    return {name: one for name, one in dumped.items() if one is not None}


def oldest_first(dumped: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """The API lists the newest first, unless it is told otherwise: their times say which way it was, or who has spoken
    first, where all have the same."""
    moments = [one["created_at"] if isinstance(one.get("created_at"), int) else None for one in dumped]
    steps = [after - before for before, after in pairwise(moments) if before is not None and after is not None]
    rising = next((step > 0 for step in steps if step), not dumped or dumped[0].get("role") == "user")
    ordered = list(dumped) if rising else list(reversed(dumped))
    if None in moments:
        return ordered
    return sorted(ordered, key=lambda one: int(one["created_at"]))
