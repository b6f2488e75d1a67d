"""Filters over the attributes of files in a vector store, as a condition that the database evaluates.

Types count: a text, a number and a boolean never equal each other, and are never greater or less than each other.
Numbers are compared as the 64-bit floats that JSON's numbers are, texts by the code points of their characters. `ne`
and `nin` are the contrary of `eq` and `in`: true also of a file that has no such attribute.
"""

from typing import Any

import sqlalchemy as sa

from homeport.store.tables import vector_store_files
from homeport.wire.vector_store_search import ComparisonFilter, CompoundFilter, Filter

_SIGNS = {"eq": "=", "ne": "=", "gt": ">", "gte": ">=", "lt": "<", "lte": "<="}
_CONTRARY = ("ne", "nin")
#: JSON's kinds of values, as each database names them.
_KINDS = {
    str: (("text",), ("string",)),
    float: (("integer", "real"), ("number",)),
    bool: (("true", "false"), ("boolean",)),
}


def condition(asked: Filter, *, sqlite: bool) -> "sa.ColumnElement[bool]":
    """Of `vector_store_files`."""
    if isinstance(asked, CompoundFilter):
        parts = [condition(one, sqlite=sqlite) for one in asked.filters]
        return sa.and_(*parts) if asked.type == "and" else sa.or_(*parts)
    found = _found(asked, sqlite=sqlite)
    return sa.not_(found) if asked.type in _CONTRARY else found


def _found(asked: ComparisonFilter, *, sqlite: bool) -> "sa.ColumnElement[bool]":
    value = asked.value
    if not isinstance(value, tuple):
        return _compared(asked.key, type(value), _SIGNS[asked.type], value, sqlite=sqlite)
    kinds: list[tuple[type, Any]] = [(kind, [one for one in value if isinstance(one, kind)]) for kind in (str, float)]
    return sa.or_(sa.false(), *(_compared(asked.key, kind, "in", some, sqlite=sqlite) for kind, some in kinds if some))


def _compared(key: str, kind: type, sign: str, value: Any, *, sqlite: bool) -> "sa.ColumnElement[bool]":
    """Whether the attribute is of that kind, and compares so with the value."""
    names = _KINDS[kind][0 if sqlite else 1]
    if sqlite:
        one = sa.func.json_each(vector_store_files.c.attributes).table_valued("key", "type", "value", "atom")
        stored: Any = one.c.atom
        if kind is float:
            stored = sa.cast(stored, sa.REAL)
        elif kind is bool:
            stored = one.c.type == "true"
        compared = sa.select(1).where(one.c.key == key, one.c.type.in_(names), _sign(stored, sign, value))
        return compared.exists()
    attributes = vector_store_files.c.attributes
    found = sa.func.json_typeof(attributes.op("->")(key)).in_(names)
    text = attributes.op("->>", return_type=sa.Text())(key)
    stored = sa.cast(text, sa.Double) if kind is float else text.collate("C")
    if kind is bool:
        value = "true" if value else "false"
    return sa.case((found, _sign(stored, sign, value)), else_=sa.false())


def _sign(stored: Any, sign: str, value: Any) -> "sa.ColumnElement[bool]":
    if sign == "in":
        found: sa.ColumnElement[bool] = stored.in_(value)
        return found
    return stored.op(sign, is_comparison=True)(value)  # type: ignore[no-any-return]
