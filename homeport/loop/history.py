"""Messages of a thread as chat completions have them, with their pictures."""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from homeport.control.item_files import MOST_PICTURES, TOO_LARGE
from homeport.control.owners import Owner
from homeport.errors import ContentMissing, InvalidRequest, NotFound

Message = dict[str, Any]
#: Of `items`, a message of a thread.
Row = Mapping[Any, Any]


class Pictures(Protocol):
    """Files of projects that show something (control/item_files.py)."""

    async def picture(self, owner: Owner, file_id: str, *, param: str, most: int) -> str:
        """A data URL. Raises InvalidRequest: it is no picture, or has more than `most` bytes; NotFound,
        ContentMissing."""
        ...


async def of_thread(rows: Sequence[Row], filenames: Mapping[str, str], pictures: Pictures, who: Owner) -> list[Message]:
    """In their order. What says nothing is left out, and the oldest pictures where there is no room for all. filenames:
    of files that are attached, by their ids, as far as they are there. Raises InvalidRequest: of a picture."""
    showing = _Showing(pictures, who)
    found: list[Message] = []
    for row in reversed(rows):
        if row["role"] == "assistant":
            if text := said(row):
                found.append({"role": "assistant", "content": text})
            continue
        parts = [await showing.part(part) for part in row["content"] or ()]
        if named := _attached(row["attachments"] or (), filenames):
            parts.append(_text(named))
        if parts:
            found.append({"role": "user", "content": _joined(parts)})
    return found[::-1]


def said(row: Row) -> str:
    """What an assistant's message says, pictures by their names."""
    return "\n".join(one for one in map(_words, row["content"] or ()) if one)


def files_of(rows: Sequence[Row]) -> set[str]:
    """Those that are attached."""
    return {one["file_id"] for row in rows for one in row["attachments"] or () if one.get("file_id")}


def _words(part: Mapping[str, Any]) -> str:
    match part["type"]:
        case "text":
            return str(part["text"]["value"])
        case "refusal":
            return str(part["refusal"])
        case "image_file":
            return f"[Picture: {part['image_file']['file_id']}]"
        case _:
            return f"[Picture: {part['image_url']['url']}]"


class _Showing:
    """The pictures of one prompt, the newest first. One that is shown twice is read once, and takes room twice."""

    def __init__(self, pictures: Pictures, who: Owner) -> None:
        self._pictures = pictures
        self._who = who
        self._left = MOST_PICTURES
        self._urls: dict[str, str] = {}

    async def part(self, part: Mapping[str, Any]) -> dict[str, Any]:
        """Raises InvalidRequest."""
        kind = part["type"]
        if kind not in ("image_file", "image_url"):
            return _text(_words(part))
        shown = part[kind]
        url = shown["url"] if kind == "image_url" else await self._url(shown["file_id"])
        if url is None:
            return _text(f"[The picture {shown['file_id']} is not there any more.]")
        if not url:
            return _text(f"[The picture {shown['file_id']} is left out: others take all the room.]")
        detail = shown.get("detail") or "auto"
        image = {"url": url} if detail == "auto" else {"url": url, "detail": detail}
        return {"type": "image_url", "image_url": image}

    async def _url(self, file_id: str) -> str | None:
        """None: it is gone; empty: there is no room for it beside others."""
        url = self._urls.get(file_id)
        if url is None:
            try:
                url = await self._pictures.picture(self._who, file_id, param="messages", most=self._left)
            except (NotFound, ContentMissing):
                return None
            except InvalidRequest as error:
                if error.code != TOO_LARGE or self._left == MOST_PICTURES:
                    raise
                return ""
            self._urls[file_id] = url
        size = len(url) * 3 // 4
        if size > self._left and self._left < MOST_PICTURES:
            return ""
        self._left -= size
        return url


def _text(text: str) -> dict[str, Any]:
    return {"type": "text", "text": text}


def _joined(parts: Sequence[Mapping[str, Any]]) -> Any:
    """Texts alone are one: not every server takes parts."""
    if all(part["type"] == "text" for part in parts):
        return "\n".join(part["text"] for part in parts)
    return list(parts)


def _attached(attachments: Sequence[Mapping[str, Any]], filenames: Mapping[str, str]) -> str:
    named = [
        f"{filenames[one['file_id']]} ({one['file_id']})" for one in attachments if one.get("file_id") in filenames
    ]
    return f"[Attached: {', '.join(named)}]" if named else ""
