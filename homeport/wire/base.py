"""What every object of the wire shares: decoding whose errors are OpenAI's, with `param` pointing into the body.

In requests `None` stands for absent and for null alike: OpenAI takes null for every optional parameter.
"""

import json
import re
from typing import Any, TypeVar

import msgspec

from homeport.errors import HomeportError, InvalidRequest, RateLimited, UpstreamRefused

T = TypeVar("T")

NOT_JSON = (
    "We could not parse the JSON body of your request. (HINT: This likely means you aren't using your HTTP library "
    "correctly. The OpenAI API expects a JSON payload, but what was sent was not valid JSON.)"
)


class ErrorObject(msgspec.Struct):
    """`Error` of the description: all four fields are always there."""

    message: str
    type: str
    param: str | None
    code: str | None


class ErrorResponse(msgspec.Struct):
    error: ErrorObject


def error_body(error: HomeportError) -> bytes:
    """`{"error": {"message", "type", "param", "code"}}`; what an upstream said, as it said it."""
    if isinstance(error, UpstreamRefused):
        return msgspec.json.encode({"error": error.body})
    kind = error.kind if isinstance(error, RateLimited) else error.type
    return msgspec.json.encode(ErrorResponse(ErrorObject(error.message, kind, error.param, error.code)))


def invalid_json() -> InvalidRequest:
    return InvalidRequest(NOT_JSON)


def decode(decoder: "msgspec.json.Decoder[T]", body: bytes) -> T:
    """Raises InvalidRequest: no JSON, or the first member that is missing, unknown, of a wrong type or out of range."""
    try:
        return decoder.decode(body)
    except msgspec.ValidationError as error:
        raise _refusal(str(error), body, decoder.type) from None
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
        raise invalid_json() from None


def convert(value: object, kind: type[T]) -> T:
    """Of JSON that was decoded already. Raises InvalidRequest."""
    try:
        return msgspec.convert(value, kind)
    except msgspec.ValidationError as error:
        raise _refusal(str(error), msgspec.json.encode(value), kind) from None


def missing(param: str) -> InvalidRequest:
    return InvalidRequest(f"Missing required parameter: '{param}'.", param=param, code="missing_required_parameter")


def empty(param: str, kind: str, least: int = 1) -> InvalidRequest:
    """kind: `string`, `array` or `object`."""
    return InvalidRequest(
        f"Invalid '{param}': empty {kind}. Expected {_article(kind)} with minimum length {least}, but got an empty "
        f"{kind} instead.",
        param=param,
        code=f"empty_{kind}",
    )


def check_nul(param: str, text: str) -> None:
    """Of what is compared in the database: PostgreSQL's texts have none. Raises InvalidRequest."""
    if "\0" in text:
        raise InvalidRequest(f"Invalid '{param}': it has a NUL character.", param=param, code="invalid_value")


def mixed_array(param: str) -> InvalidRequest:
    """Of texts or tokens: its items are of several kinds."""
    return InvalidRequest(
        f"Invalid type for '{param}': expected one of a string, array of strings, array of integers or array of "
        "integer arrays, but got a mixed array instead.",
        param=param,
        code="invalid_type",
    )


def unsupported_value(param: str, value: object, supported: str) -> InvalidRequest:
    return InvalidRequest(
        f"Invalid value: {_quoted(value)}. Supported values are: {supported}.", param=param, code="invalid_value"
    )


_WHERE = re.compile(r" - at `(?:key in )?\$?(.*)`$")
_TYPES = {
    "str": "string",
    "int": "integer",
    "float": "decimal",
    "bool": "boolean",
    "object": "object",
    "array": "array",
    "null": "null",
}
_MISSING = re.compile(r"Object missing required field `(.*?)`")
_UNKNOWN = re.compile(r"Object contains unknown field `(.*?)`")
_WRONG_TYPE = re.compile(r"Expected `(.*?)`, got `(.*?)`$")
_RANGE = re.compile(r"Expected `(int|float)` (>=|<=|<|>) ([-\d.e+]+)")
_LENGTH = re.compile(r"Expected `(array|str|object)` (?:of|with at (?:least|most)) ?(?:length|items)? ?(>=|<=)? ?(\d+)")
_PATTERN = re.compile(r"Expected `str` matching regex '(.*)'")
_ENUM = re.compile(r"Invalid (?:enum )?value (.*)")


def _refusal(message: str, body: bytes, kind: Any) -> InvalidRequest:
    """msgspec's words in OpenAI's: `Expected `float` <= 2.0 - at `$.temperature`` and its kin."""
    found = _WHERE.search(message)
    path = found[1].lstrip(".").removesuffix("[...]") if found else ""  # [...]: some value of a map
    what = message[: found.start()] if found else message
    if match := _MISSING.match(what):
        return missing(_join(path, match[1]))
    if match := _UNKNOWN.match(what):
        if not path:
            return InvalidRequest(f"Unrecognized request argument supplied: {match[1]}")
        param = _join(path, match[1])
        return InvalidRequest(f"Unknown parameter: '{param}'.", param=param, code="unknown_parameter")
    value = _value_at(body, path)
    if match := _WRONG_TYPE.match(what):
        return _wrong_type(path, match[1], match[2])
    if match := _RANGE.match(what):
        return _out_of_range(path, match[1], match[2], float(match[3]), value)
    if match := _LENGTH.match(what):
        return _wrong_length(path, match[1], match[2] or ">=", int(match[3]), value)
    if match := _PATTERN.match(what):
        return InvalidRequest(
            f"Invalid '{path}': string does not match pattern. Expected a string that matches the pattern "
            f"'{match[1]}'.",
            param=path or None,
            code="invalid_value",
        )
    if match := _ENUM.match(what):
        return unsupported_value(path, value, _supported(kind, path, body))
    return InvalidRequest(f"Invalid '{path}': {what}." if path else f"Invalid request: {what}.", param=path or None)


def _join(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name


def _wrong_type(path: str, expected: str, got: str) -> InvalidRequest:
    if not path:
        return invalid_json()
    kinds = [_TYPES.get(kind, kind) for kind in re.split(r"\s*\|\s*", expected) if kind != "null"]
    kinds = list(dict.fromkeys(kinds))
    wanted = _article(kinds[0]) if len(kinds) == 1 else "one of " + _alternatives(kinds)
    actual = _TYPES.get(got, got)
    return InvalidRequest(
        f"Invalid type for '{path}': expected {wanted}, but got {_article(actual)} instead.",
        param=path,
        code="invalid_type",
    )


def _article(kind: str) -> str:
    if kind == "null":
        return "null"
    return f"an {kind}" if kind[0] in "aeio" else f"a {kind}"


def _alternatives(kinds: list[str]) -> str:
    return _article(", ".join(kinds[:-1])) + f" or {kinds[-1]}"


def _out_of_range(path: str, kind: str, sign: str, bound: float, value: Any) -> InvalidRequest:
    name = "integer" if kind == "int" else "decimal"
    if isinstance(value, dict):
        value = next((one for one in value.values() if isinstance(one, int | float) and abs(one) > abs(bound)), None)
    above = sign[0] == "<"
    shown = str(int(bound)) if bound == int(bound) else f"{bound:g}"
    return InvalidRequest(
        f"Invalid '{path}': {name} {'above maximum' if above else 'below minimum'} value. "
        f"Expected a value {sign} {shown}, but got {_quoted(value)} instead.",
        param=path,
        code=f"{name}_{'above_max' if above else 'below_min'}_value",
    )


def _wrong_length(path: str, kind: str, sign: str, bound: int, value: Any) -> InvalidRequest:
    name = _TYPES[kind]
    size = len(value) if hasattr(value, "__len__") else 0
    if size == 0:
        return empty(path, name, bound)
    over = sign == "<="
    return InvalidRequest(
        f"Invalid '{path}': {name} too {'long' if over else 'short'}. Expected {_article(name)} with "
        f"{'maximum' if over else 'minimum'} length {bound}, but got {_article(name)} with length {size} instead.",
        param=path,
        code=f"{name}_{'above_max' if over else 'below_min'}_length",
    )


def _supported(kind: Any, path: str, body: bytes) -> str:
    """The values that may stand at a path, in OpenAI's writing: `'system', 'user', and 'tool'`."""
    types = [msgspec.inspect.type_info(kind)]
    values: list[str] = []
    above = ""
    for name in re.findall(r"[^.\[\]]+", path):
        here = _value_at(body, above)
        types = [inner for outer in types for inner in _flat(outer)]
        structs = [one for one in types if isinstance(one, msgspec.inspect.StructType)]
        values = [str(one.tag) for one in structs if one.tag_field == name]
        if isinstance(here, dict):  # of a union, only the member that was meant
            types = [one for one in structs if one.tag == here.get(one.tag_field or "")] or list(types)
        types = [inner for outer in types for inner in _members(outer, name)]
        above = f"{above}[{name}]" if name.isdecimal() else _join(above, name)
    for one in (inner for outer in types for inner in _flat(outer)):
        if isinstance(one, msgspec.inspect.LiteralType):
            values += [str(value) for value in one.values]
    quoted = [f"'{value}'" for value in dict.fromkeys(values)]
    return ", ".join(quoted[:-1]) + f", and {quoted[-1]}" if len(quoted) > 1 else "".join(quoted)


def _flat(kind: msgspec.inspect.Type) -> list[msgspec.inspect.Type]:
    if isinstance(kind, msgspec.inspect.Metadata):
        return _flat(kind.type)
    if isinstance(kind, msgspec.inspect.UnionType):
        return [inner for one in kind.types for inner in _flat(one)]
    return [kind]


def _members(kind: msgspec.inspect.Type, name: str) -> list[msgspec.inspect.Type]:
    if isinstance(kind, msgspec.inspect.ListType) and name.isdecimal():
        return [kind.item_type]
    if isinstance(kind, msgspec.inspect.StructType):
        return [field.type for field in kind.fields if field.encode_name == name]
    return []


def _value_at(body: bytes, path: str) -> Any:
    """What stands at a path of msgspec's (`messages[0].content`); None where it cannot be followed."""
    try:
        value: Any = json.loads(body)
        for name, place in re.findall(r"([^.\[\]]+)|\[(\d+)\]", path):
            value = value[name] if name else value[int(place)]
    except (ValueError, LookupError, TypeError, RecursionError):
        return None
    return value


def _quoted(value: Any) -> str:
    text = f"'{value}'" if isinstance(value, str) else json.dumps(value, default=str)
    return text if len(text) <= 100 else text[:97] + "..."
