"""What a budget asks of a request before it runs. That none is exceeded: tests/replicas/test_budgets.py."""

from collections.abc import Iterator
from typing import Any

import openai
import pytest

from tests.api import raw
from tests.fake_upstream import until
from tests.server import KEY
from tests.upstreams.homeports import Relay, relaying

PRICE = {"input": "1", "output": "1"}
CENT = 1


@pytest.fixture(scope="module")
def relay(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Relay]:
    settings = {
        "prices": {
            "endless": PRICE,
            "house": {"input": "0.1", "output": "0.1"},
            "bounded": {**PRICE, "max_output": 50},
        },
        "models": {"echo": {"engine": "echo"}, "house": {"engine": "echo"}},
        "aliases": {"either": ("bounded", "endless")},
    }
    with relaying(tmp_path_factory.mktemp("budgets"), settings) as made:
        yield made


@pytest.fixture
def spender(relay: Relay) -> Iterator[openai.OpenAI]:
    """With a cent."""
    with openai.OpenAI(admin_api_key=KEY, api_key=KEY, base_url=relay.homeport.base_url, max_retries=0) as client:
        project = client.admin.organization.projects.create(name="thrifty").id
    keys = f"/v1/homeport/projects/{project}/api_keys"
    key = raw.ask(relay.homeport, "POST", keys, {"name": "k"}).json
    limit = {"threshold_amount": CENT, "currency": "USD", "interval": "total"}
    assert raw.ask(relay.homeport, "POST", f"{keys}/{key['id']}/spend_limit", limit).status == 200
    with openai.OpenAI(base_url=relay.homeport.base_url, api_key=key["value"], max_retries=0) as client:
        assert until(lambda: raw.ask(relay.homeport, "GET", "/v1/models", key=key["value"]).status == 200)
        yield client


def ask(client: openai.OpenAI, model: str, **more: Any) -> None:
    client.chat.completions.create(model=model, messages=[{"role": "user", "content": "hello"}], **more)


@pytest.mark.parametrize("model", ["endless", "either"])
def test_an_answer_of_any_length_is_refused(relay: Relay, spender: openai.OpenAI, model: str) -> None:
    """Of any target that might give it."""
    asked = len(relay.fake.received)
    with pytest.raises(openai.BadRequestError) as refused:
        ask(spender, model)
    error = refused.value
    assert (error.param, error.code) == ("max_completion_tokens", "missing_required_parameter")
    assert '[prices."endless"] max_output' in error.message
    assert len(relay.fake.received) == asked
    ask(spender, model, max_tokens=10)
    ask(spender, model, max_completion_tokens=10)


def test_a_length_that_somebody_limits(relay: Relay, spender: openai.OpenAI) -> None:
    """The operator, OpenAI by its default, this machine; and whoever has no budget need not."""
    ask(spender, "bounded")
    ask(spender, "house")
    spender.completions.create(model="endless", prompt="hello")
    assert raw.ask(relay.homeport, body={**raw.HELLO, "model": "endless"}).status == 200


@pytest.mark.parametrize("name", ["max_tokens", "max_completion_tokens"])
@pytest.mark.parametrize("number", [0, -1, -(10**12)])
def test_a_limit_that_is_none_is_refused(relay: Relay, spender: openai.OpenAI, name: str, number: int) -> None:
    """Some servers answer such a request without end; and no reservation is below zero."""
    with pytest.raises(openai.BadRequestError) as refused:
        ask(spender, "bounded", **{name: number})
    assert (refused.value.param, refused.value.code) == (name, "integer_below_min_value")
    with pytest.raises(openai.RateLimitError):
        ask(spender, "bounded", max_tokens=10_001)


@pytest.mark.parametrize(
    ("tier", "fits"), [(None, False), ("auto", False), ("priority", False), ("default", True), ("flex", True)]
)
def test_the_dearest_tier_that_may_serve_it_is_reserved(spender: openai.OpenAI, tier: str | None, fits: bool) -> None:
    """900 tokens of gpt-4o: 0.9 cents, and 1.53 in priority, which `auto` may become."""
    asked = {"max_tokens": 900, **({"service_tier": tier} if tier else {})}
    if fits:
        ask(spender, "gpt-4o-2024-11-20", **asked)
    else:
        with pytest.raises(openai.RateLimitError) as refused:
            ask(spender, "gpt-4o-2024-11-20", **asked)
        assert refused.value.code == "insufficient_quota"
