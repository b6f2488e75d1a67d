"""A body that two readers would read in two ways: a name that stands there twice, or is written with escapes.

Of two values Homeport takes the last, and reserves and charges by it, where a server behind it may obey the first. An
escaped name (`mod\\u0065l`) is the same to a decoder, and not to whoever looks for it in the bytes. Neither is taken
in the outermost object, whose members are the parameters of a request.

To see it costs a microsecond: what was read is written again, which is as long as the body exactly when nothing was
lost in reading. That holds without spaces. With them the quotes and backslashes are counted: a lost name has two of the
one, an escaped one some of the other.
"""

from collections.abc import Mapping

import msgspec

from homeport.errors import InvalidRequest

#: More names than any API has: which of them it is is not worth the search.
_MOST_NAMES = 1000
_map = msgspec.json.Decoder(dict[str, msgspec.Raw])
_encode = msgspec.json.encode


def check_names(body: bytes, members: Mapping[str, msgspec.Raw]) -> None:
    """members: of the body, as it is decoded. Raises InvalidRequest."""
    again = _encode(members)
    if len(again) == len(body) or _is_plain(body, again, members):
        return
    compact = msgspec.json.format(body, indent=-1)
    members = _map.decode(compact)
    if len(_encode(members)) == len(compact):
        return
    name = _ambiguous(compact, members) if len(members) <= _MOST_NAMES else None
    param = None if name is None else name.decode(errors="replace")
    which = "one of them" if param is None else f"'{param}'"
    raise InvalidRequest(
        f"The request's parameters are ambiguous: {which} stands in the body more than once, or its name is written "
        "with escapes. Send each once, as it is.",
        param=param,
        code="ambiguous_parameter",
    )


def _is_plain(body: bytes, again: bytes, members: Mapping[str, msgspec.Raw]) -> bool:
    """Only where names are words: in others a quote may be written as `\\u0022`, and make up for one that was lost."""
    words = "".join(members).isidentifier()
    return words and body.count(b'"') == again.count(b'"') and body.count(b"\\") == again.count(b"\\")


def _ambiguous(compact: bytes, members: Mapping[str, msgspec.Raw]) -> bytes | None:
    """The first name that is escaped, or whose value is not its only one. compact: without spaces."""
    seen: set[bytes] = set()
    start = 1
    while start < len(compact) - 1:
        end = compact.index(b'"', start + 1)
        name = compact[start + 1 : end]
        if b"\\" in name or name in seen:
            return name
        seen.add(name)
        value = bytes(members[name.decode()])
        start = end + 2 + len(value) + 1
        if compact[end + 2 : start - 1] != value or compact[start - 1 : start] not in (b",", b"}"):
            return name
    return None
