"""Messages of a thread as chat completions have them, with their pictures."""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from homeport.control.owners import Owner
from homeport.errors import ContentMissing, NotFound

Message = dict[str, Any]
#: Of `items`, a message of a thread.
Row = Mapping[Any, Any]


class Pictures(Protocol):
    """Files of projects that show something (control/item_files.py)."""

    async def picture(self, owner: Owner, file_id: str, *, param: str) -> str:
        """A data URL. Raises InvalidRequest: it is no picture, or too large; NotFound, ContentMissing."""
        ...


async def of_thread(rows: Sequence[Row], filenames: Mapping[str, str], pictures: Pictures, who: Owner) -> list[Message]:
    """In their order. What says nothing is left out. filenames: of files that are attached, by their ids, as far as
    they are there. Raises InvalidRequest: of a picture."""
    found: list[Message] = []
    for row in rows:
        if row["role"] == "assistant":
            if text := said(row):
                found.append({"role": "assistant", "content": text})
            continue
        parts = [await _part(part, pictures, who) for part in row["content"] or ()]
        if named := _attached(row["attachments"] or (), filenames):
            parts.append(_text(named))
        if parts:
            found.append({"role": "user", "content": _joined(parts)})
    return found


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


async def _part(part: Mapping[str, Any], pictures: Pictures, who: Owner) -> dict[str, Any]:
    kind = part["type"]
    if kind not in ("image_file", "image_url"):
        return _text(_words(part))
    shown = part[kind]
    if kind == "image_url":
        url = shown["url"]
    else:
        try:
            url = await pictures.picture(who, shown["file_id"], param="messages")
        except (NotFound, ContentMissing):
            return _text(f"[The picture {shown['file_id']} is not there any more.]")
    detail = shown.get("detail") or "auto"
    image = {"url": url} if detail == "auto" else {"url": url, "detail": detail}
    return {"type": "image_url", "image_url": image}


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
