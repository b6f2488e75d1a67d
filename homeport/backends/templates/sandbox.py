"""Jinja2 for chat templates that came with a stranger's weights: what Hugging Face's renderer offers, inside bounds.

A template may loop, call and concatenate as it likes until its budget (work units, characters, seconds) is spent; then
`TemplateFailed` ends it. Source of the dialect: transformers' `apply_chat_template` (trim and lstrip blocks, loop
controls, `tojson` without HTML escaping, `raise_exception`, `strftime_now`, the `generation` block).
"""

import datetime
import functools
import json
from collections.abc import Callable, Mapping
from contextvars import ContextVar

import jinja2
from jinja2 import nodes
from jinja2.ext import Extension, loopcontrols
from jinja2.parser import Parser
from jinja2.runtime import Context
from jinja2.sandbox import ImmutableSandboxedEnvironment

from homeport import clock

WORK_LIMIT = 40_000_000  # characters written, plus TURN for each turn of a loop; far above what a full context needs
TURN = 200
SECONDS_LIMIT = 5.0
NUMBER_LIMIT = 100_000  # as Jinja's own range(): a larger count in a filter or a call is an attempt on the memory
SOURCE_LIMIT = 1_000_000


class TemplateRefused(Exception):
    """The template called `raise_exception`; its message says what it does not allow (an order of roles, a role)."""


class TemplateFailed(Exception):
    """The template is broken, or it ran out of its budget."""


class Budget:
    """What one rendering may still spend."""

    __slots__ = ("_deadline", "_left", "_until_look")

    def __init__(self) -> None:
        self._left = WORK_LIMIT
        self._deadline = clock.monotonic() + SECONDS_LIMIT
        self._until_look = 1000

    def spend(self, units: int) -> None:
        self._left -= units
        self._until_look -= 1
        if self._until_look <= 0:
            self._until_look = 1000
            if clock.monotonic() > self._deadline:
                raise TemplateFailed(f"it ran for more than {SECONDS_LIMIT:g} seconds")
        if self._left < 0:
            raise TemplateFailed("it loops or writes without end")


_budget: ContextVar[Budget] = ContextVar("template budget")


def render(template: jinja2.Template, variables: Mapping[str, object]) -> str:
    """The template's text. Raises TemplateRefused and TemplateFailed, nothing else."""
    token = _budget.set(Budget())
    try:
        return template.render(variables)
    except (TemplateRefused, TemplateFailed):
        raise
    except RecursionError as exc:
        raise TemplateFailed("it calls itself without end") from exc
    except Exception as exc:  # whatever a stranger's template does wrong: undefined names, wrong types, divisions by 0
        raise TemplateFailed(f"{type(exc).__name__}: {exc}") from exc
    finally:
        _budget.reset(token)


def compiled(source: str) -> jinja2.Template:
    """Raises TemplateFailed for a source that is no template."""
    if len(source) > SOURCE_LIMIT:
        raise TemplateFailed(f"it has more than {SOURCE_LIMIT} characters")
    environment = _environment()
    try:
        tree = environment.parse(source)
        _charge(tree, environment)
        code = environment.compile(tree)
        return jinja2.Template.from_code(environment, code, dict(environment.globals), None)
    except (jinja2.TemplateError, RecursionError) as exc:
        raise TemplateFailed(f"{type(exc).__name__}: {exc}") from exc


class _Environment(ImmutableSandboxedEnvironment):
    """Intercepts what can grow: operators, calls, filters and output."""

    intercepted_binops = frozenset(("+", "*", "**", "%"))

    def call_binop(self, context: Context, operator: str, left: object, right: object) -> object:
        if operator == "**" and not (_small(left, 1000) and _small(right, 100)):
            raise TemplateFailed("it raises a number to a huge power")
        if operator == "*":
            for sized, times in ((left, right), (right, left)):
                if isinstance(sized, str | list | tuple) and isinstance(times, int):
                    _budget.get().spend(len(sized) * max(times, 0))
        if operator == "%" and isinstance(left, str):
            _check_numbers(right if isinstance(right, tuple) else (right,))
            _check_numbers(_numbers_in(left))
        return _charged(super().call_binop(context, operator, left, right))

    def call(__self, __context: Context, __obj: object, *args: object, **kwargs: object) -> object:
        _budget.get().spend(1)
        name = getattr(__obj, "__name__", "")
        _check_numbers((*args, *kwargs.values()))
        method = getattr(__obj, "__wrapped__", __obj)  # the sandbox wraps str.format
        if isinstance(of := getattr(method, "__self__", None), str):
            if name == "replace":
                _check_replace(of, args)
            elif name in ("format", "format_map"):
                _check_numbers(_numbers_in(of))
        return _charged(super().call(__context, __obj, *args, **kwargs))


def _environment() -> _Environment:
    environment = _Environment(
        trim_blocks=True,
        lstrip_blocks=True,
        extensions=[loopcontrols, _Generation],
        finalize=_charged,
        cache_size=0,
    )
    for name, function in list(environment.filters.items()):
        environment.filters[name] = _bounded(name, function)
    environment.filters["tojson"] = _bounded("tojson", _tojson)
    del environment.globals["lipsum"]
    environment.globals.update(raise_exception=_raise_exception, strftime_now=_strftime_now)
    environment.globals[_TICK] = _tick
    environment.globals[_CONCAT] = _concat
    return environment


def _tojson(
    value: object,
    ensure_ascii: bool = False,
    indent: int | None = None,
    separators: tuple[str, str] | None = None,
    sort_keys: bool = False,
) -> str:
    return json.dumps(value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)


def _raise_exception(message: object = "") -> None:
    raise TemplateRefused(str(message))


def _strftime_now(form: str) -> str:
    return datetime.datetime.fromtimestamp(clock.now()).astimezone().strftime(form)


class _Generation(Extension):
    """`{% generation %}...{% endgeneration %}` marks what a trainer learns from; for rendering it is its content."""

    tags = {"generation"}  # noqa: RUF012

    def parse(self, parser: Parser) -> list[nodes.Node]:
        next(parser.stream)
        return list(parser.parse_statements(("name:endgeneration",), drop_needle=True))


# Bounds ------------------------------------------------------------------------------------------------------------

_TICK = "homeport_tick"
_CONCAT = "homeport_concat"


def _tick(units: int) -> str:
    _budget.get().spend(units)
    return ""


def _concat(*values: object) -> object:
    return _charged("".join([str(_charged(value)) for value in values]))


def _charged(value: object) -> object:
    if isinstance(value, str | list | tuple):
        _budget.get().spend(1 + len(value))
    return value


def _small(value: object, limit: int) -> bool:
    return isinstance(value, int | float) and abs(value) <= limit


def _numbers_in(text: str) -> list[int]:
    """Widths and precisions in a format string."""
    digits = "".join([c if "0" <= c <= "9" else " " for c in text])
    return [min(int(number[:9]), 10**9) for number in digits.split()]


def _check_numbers(values: object) -> None:
    for value in values if isinstance(values, list | tuple) else ():
        if isinstance(value, int) and abs(value) > NUMBER_LIMIT:
            raise TemplateFailed(f"it uses a number above {NUMBER_LIMIT}")


def _check_replace(of: str, args: tuple[object, ...]) -> None:
    if len(args) >= 2 and isinstance(args[0], str) and isinstance(args[1], str):
        _budget.get().spend(of.count(args[0]) * len(args[1]))


def _bounded(name: str, function: Callable[..., object]) -> Callable[..., object]:
    @functools.wraps(function)  # keeps Jinja's marks on it (which of context, environment it wants)
    def filtered(*args: object, **kwargs: object) -> object:
        given = [a for a in args if not isinstance(a, jinja2.Environment | Context | nodes.EvalContext)]
        _check_numbers((*given[1:], *kwargs.values()))
        if name == "replace" and given and isinstance(given[0], str):
            _check_replace(given[0], tuple(given[1:]))
        if name == "format" and given and isinstance(given[0], str):
            _check_numbers(_numbers_in(given[0]))
        return _charged(function(*args, **kwargs))

    return filtered


def _charge(tree: nodes.Template, environment: jinja2.Environment) -> None:
    """Put a tick at the head of every loop body and macro (its cost: the text that stands in it), and count `~`."""
    for node in tree.find_all((nodes.For, nodes.Macro, nodes.CallBlock)):
        assert isinstance(node, nodes.For | nodes.Macro | nodes.CallBlock)
        text = sum(len(data.data) for inner in node.body for data in _texts(inner))
        tick = nodes.Call(nodes.Name(_TICK, "load"), [nodes.Const(TURN + text)], [], None, None)
        node.body.insert(0, nodes.ExprStmt(tick))
    _replace_concats(tree)
    tree.set_environment(environment)
    tree.set_lineno(1)


def _texts(node: nodes.Node) -> list[nodes.TemplateData]:
    own = [node] if isinstance(node, nodes.TemplateData) else []
    return own + list(node.find_all(nodes.TemplateData))


def _replace_concats(node: nodes.Node) -> None:
    for name in node.fields:
        value = getattr(node, name, None)
        if isinstance(value, nodes.Node):
            setattr(node, name, _counted(value))
        elif isinstance(value, list):
            value[:] = [_counted(item) if isinstance(item, nodes.Node) else item for item in value]


def _counted(node: nodes.Node) -> nodes.Node:
    _replace_concats(node)
    if isinstance(node, nodes.Concat):
        return nodes.Call(nodes.Name(_CONCAT, "load"), list(node.nodes), [], None, None)
    return node
