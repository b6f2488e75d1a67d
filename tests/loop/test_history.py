"""Messages of a thread as a model is given them."""

import asyncio
from typing import Any

import pytest

from homeport.control.owners import Owner
from homeport.errors import NotFound
from homeport.loop import history
from tests.loop.models import WHO


class Pictures:
    async def picture(self, owner: Owner, file_id: str, *, param: str, most: int) -> str:
        assert owner == WHO
        if file_id == "file-gone":
            raise NotFound("It is gone.")
        return f"data:image/png;base64,{file_id}"


def text(said: str) -> dict[str, Any]:
    return {"type": "text", "text": {"value": said, "annotations": []}}


def shown(*rows: tuple[str, list[Any]], **more: Any) -> list[Any]:
    made = [{"role": role, "content": content, "attachments": None, **more} for role, content in rows]
    return asyncio.run(history.of_thread(made, {"file-1": "table.csv"}, Pictures(), WHO))


def test_texts() -> None:
    told = shown(
        ("user", [text("One."), text("Two.")]),
        ("assistant", [text("Three.")]),
        ("assistant", [{"type": "refusal", "refusal": "No."}]),
        ("assistant", []),
        ("assistant", None),  # type: ignore[arg-type]
    )
    assert told == [
        {"role": "user", "content": "One.\nTwo."},
        {"role": "assistant", "content": "Three."},
        {"role": "assistant", "content": "No."},
    ]


def test_pictures() -> None:
    file, address = {"file_id": "file-2", "detail": "auto"}, {"url": "https://far.example/a.png", "detail": "high"}
    parts = [{"type": "image_file", "image_file": file}, {"type": "image_url", "image_url": address}]
    asked, said = shown(("user", [text("Look!"), *parts]), ("assistant", [text("A house."), *parts]))
    assert asked["content"] == [
        {"type": "text", "text": "Look!"},
        {"type": "image_url", "image_url": {"url": "data:image/png;base64,file-2"}},
        {"type": "image_url", "image_url": {"url": "https://far.example/a.png", "detail": "high"}},
    ]
    assert said["content"] == "A house.\n[Picture: file-2]\n[Picture: https://far.example/a.png]"


def test_a_picture_that_was_deleted_is_no_reason_to_fail() -> None:
    (asked,) = shown(("user", [{"type": "image_file", "image_file": {"file_id": "file-gone"}}]))
    assert asked["content"] == "[The picture file-gone is not there any more.]"


def test_there_is_room_for_the_newest_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(history, "MOST_PICTURES", 60)  # two of them
    one = {"type": "image_file", "image_file": {"file_id": "file-2"}}
    first, second = shown(("user", [one, one]), ("user", [one]))
    assert [part["type"] for part in first["content"]] == ["image_url", "text"]
    assert "left out" in first["content"][1]["text"]
    assert [part["type"] for part in second["content"]] == ["image_url"]


def test_attached_files_are_named() -> None:
    attachments = [{"file_id": "file-1", "tools": []}, {"file_id": "file-deleted", "tools": []}]
    (asked,) = shown(("user", [text("Count.")]), attachments=attachments)
    assert asked["content"] == "Count.\n[Attached: table.csv (file-1)]"
