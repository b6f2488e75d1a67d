"""A stranger's template may be wrong or hostile; it never takes the process with it."""

import time

import pytest

from homeport.backends.templates import sandbox
from homeport.backends.templates.sandbox import TemplateFailed, TemplateRefused, compiled, render

HOSTILE = {
    "nested loops": "{% for i in range(100000) %}{% for j in range(100000) %}{% endfor %}{% endfor %}",
    "doubling by ~": "{% set n = namespace(x='aa') %}{% for i in range(99) %}{% set n.x = n.x ~ n.x %}{% endfor %}",
    "doubling by +": "{% set n = namespace(x='aa') %}{% for i in range(99) %}{% set n.x = n.x + n.x %}{% endfor %}",
    "doubling by a block": (
        "{% set n = namespace(x='aa') %}{% for i in range(99) %}{% set n.x %}{{ n.x }}{{ n.x }}{% endset %}{% endfor %}"
    ),
    "growing by a filter": (
        "{% set n = namespace(x='a') %}{% for i in range(99) %}{% set n.x = n.x|replace('a', 'aaa') %}{% endfor %}"
    ),
    "growing by a method": (
        "{% set n = namespace(x='a') %}{% for i in range(99) %}{% set n.x = n.x.replace('a', 'aaa') %}{% endfor %}"
    ),
    "a list times": "{{ [1, 2] * 1000000000 }}",
    "a text times": "{{ 'a' * 1000000000 }}",
    "a wide field": "{{ '%1000000000d' % 1 }}",
    "a wide field by format": "{{ '{:1000000000}'.format(1) }}",
    "a wide field, counted": "{{ '%*d' % (1000000000, 1) }}",
    "centred": "{{ 'a'|center(1000000000) }}",
    "justified": "{{ 'a'.ljust(1000000000) }}",
    "a tower of powers": "{{ 9 ** 9 ** 9 ** 9 }}",
    "recursion": "{% macro f() %}{{ f() }}{{ f() }}{% endmacro %}{{ f() }}",
    "an inner object": "{{ ''.__class__.__mro__ }}",
    "an import": "{% import 'os' as os %}",
}


@pytest.mark.parametrize("source", HOSTILE.values(), ids=HOSTILE.keys())
def test_a_hostile_template_is_ended(source: str) -> None:
    began = time.monotonic()
    with pytest.raises(TemplateFailed):
        render(compiled(source), {})
    assert time.monotonic() - began < sandbox.SECONDS_LIMIT + 2


def test_time_is_bounded_where_work_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sandbox, "SECONDS_LIMIT", 0.05)
    with pytest.raises(TemplateFailed, match=r"0\.05 seconds"):
        render(compiled("{% for i in range(100000) %}{% set x = range(1000)|sum %}{% endfor %}"), {})


def test_what_hugging_face_offers_works() -> None:
    source = (
        "{% for m in messages %}\n    {% if m.skip %}{% continue %}{% endif %}\n{{ m.text ~ 1 }};{% endfor %}\n"
        "{% generation %}{{ {'a': '<ü>'}|tojson }}{% endgeneration %}{{ strftime_now('%Y')|length }}"
    )
    messages = [{"text": "a"}, {"skip": True}, {"text": "b"}]
    assert render(compiled(source), {"messages": messages}) == 'a1;b1;{"a": "<ü>"}4'


def test_a_template_may_refuse_with_its_own_words() -> None:
    with pytest.raises(TemplateRefused, match="roles must alternate"):
        render(compiled("{{ raise_exception('roles must alternate') }}"), {})


@pytest.mark.parametrize("source", ["{% if %}", "{{ a", "x" * (sandbox.SOURCE_LIMIT + 1)])
def test_what_is_no_template_is_told(source: str) -> None:
    with pytest.raises(TemplateFailed):
        compiled(source)
