"""What a request cost, told in the answer, in its receipt and in OpenAI's usage, to the last digit."""

import json
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from typing import Any

import openai
import pytest

from tests.api import raw
from tests.api.raw import connect, request_bytes
from tests.fake_upstream import STREAM_HEAD, Behaviour, Visit, chunked, events, plain_answer, until, whole
from tests.server import KEY
from tests.upstreams.homeports import Relay, relaying

HELLO = [{"role": "user", "content": "hello"}]
#: The fake upstream says 11 tokens of prompt, 3 of them cached, and 7 of answer.
PRICES = {
    "priced": {"input": "2", "cached_input": "0.5", "output": "8"},
    "written": {"input": "2", "cached_input": "0.5", "cache_write": "2.5", "input_image": "4", "output": "8"},
    "house": {"input": "1", "output": "1"},
    "gpt-4o-mini": {"input": "2", "cached_input": "0.5", "output": "8"},
}
COST = "0.0000735"  # 8 x 2 + 3 x 0.5 + 7 x 8 millionths


@pytest.fixture(scope="module")
def relay(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Relay]:
    settings = {
        "prices": PRICES,
        "models": {
            "echo": {"engine": "echo"},
            "house": {"engine": "echo"},
            "gpt-4": {"engine": "echo"},
            "text-embedding-3-small": {"engine": "echo"},
        },
        "aliases": {"nick": "priced", "gpt-3.5-turbo": "gpt-4"},
        "cache": {"enabled": True},
    }
    with relaying(tmp_path_factory.mktemp("receipts"), settings) as made:
        yield made


def body(model: str, **more: Any) -> dict[str, Any]:
    return {"model": model, "messages": HELLO, **more}


def receipt(relay: Relay, request_id: str, *, key: str = KEY) -> dict[str, Any]:
    """Once it is there."""
    answer = raw.ask(relay.homeport, "GET", f"/v1/homeport/receipts/{request_id}", key=key)
    found: dict[str, Any] = json.loads(answer.body)
    return found


def test_the_answer_and_the_receipt_tell_the_same(relay: Relay) -> None:
    answer = raw.ask(relay.homeport, body=body("priced", user="a"))
    assert answer.headers["x-homeport-cost"] == COST
    told = receipt(relay, answer.headers["x-request-id"])
    assert (told["total"], told["currency"], told["estimated"]) == (COST, "usd", False)
    assert told["lines"] == [
        {"item": "priced, input", "quantity": 8, "unit": "tokens", "unit_price": "0.000002", "amount": "0.000016"},
        {
            "item": "priced, cached input",
            "quantity": 3,
            "unit": "tokens",
            "unit_price": "0.0000005",
            "amount": "0.0000015",
        },
        {"item": "priced, output", "quantity": 7, "unit": "tokens", "unit_price": "0.000008", "amount": "0.000056"},
    ]
    assert told["price_rule"] == "priced settings"
    assert (told["usage"]["input_tokens"], told["usage"]["cached_tokens"], told["usage"]["output_tokens"]) == (8, 3, 7)


def test_an_alias_costs_what_ran(relay: Relay) -> None:
    answer = raw.ask(relay.homeport, body=body("nick", user="b"))
    told = receipt(relay, answer.headers["x-request-id"])
    assert (told["model"], told["ran"], told["total"]) == ("nick", "priced-2024", COST)


def test_a_stream_costs_the_same(relay: Relay) -> None:
    answer = raw.ask(relay.homeport, body=body("priced", stream=True, user="c"))
    assert b"prompt_tokens" not in answer.body, "the client did not ask for the counts"
    assert until(lambda: "total" in receipt(relay, answer.headers["x-request-id"]))
    assert receipt(relay, answer.headers["x-request-id"])["total"] == COST


def test_a_model_without_a_price_has_no_cost_which_is_not_zero(relay: Relay) -> None:
    answer = raw.ask(relay.homeport, body=body("echo", user="d"))
    assert "x-homeport-cost" not in answer.headers
    told = receipt(relay, answer.headers["x-request-id"])
    assert (told["total"], told["lines"], told["price_rule"]) == (None, [], None)


def test_a_model_of_this_machine_has_the_price_that_the_operator_sets(relay: Relay) -> None:
    answer = raw.ask(relay.homeport, body=body("house", user="e"))
    used = json.loads(answer.body)["usage"]["total_tokens"]
    assert answer.headers["x-homeport-cost"] == f"{used / 1e6:.6f}".rstrip("0")


@pytest.mark.parametrize("name", ["gpt-4", "gpt-3.5-turbo"])
def test_a_model_of_this_machine_may_be_called_what_a_hosted_one_is(relay: Relay, name: str) -> None:
    for _ in ("answered", "from the cache"):
        answer = raw.ask(relay.homeport, body=body(name, user="h"))
        assert "x-homeport-cost" not in answer.headers
        told = receipt(relay, answer.headers["x-request-id"])
        assert (told["total"], told["saved"], told["price_rule"]) == (None, None, None)
    assert told["cache_hit"]


@pytest.mark.parametrize("stream", [False, True], ids=["plain", "stream"])
@pytest.mark.parametrize(("tier", "cost"), [("priority", "0.000159375"), ("flex", "0.00009375")])
def test_the_tier_that_an_answer_was_served_in(relay: Relay, tier: str, cost: str, stream: bool) -> None:
    """gpt-4o has a price for priority and none for flex. OpenAI's usage tells the tier, too."""
    relay.fake.script.append(served_as(tier))
    asked = body("gpt-4o-2024-11-20", stream=stream, seed=len(tier), service_tier="auto")
    request_id = raw.ask(relay.homeport, body=asked).headers["x-request-id"]
    assert until(lambda: "total" in receipt(relay, request_id))
    told = receipt(relay, request_id)
    assert (told["service_tier"], told["total"]) == (tier, cost)
    assert {line["item"].startswith("priority | ") for line in told["lines"]} == {tier == "priority"}
    with openai.OpenAI(admin_api_key=KEY, api_key=KEY, base_url=relay.homeport.base_url, max_retries=0) as client:

        def tiers() -> set[str | None]:
            usage = client.admin.organization.usage
            page = usage.completions(start_time=today(), group_by=["service_tier"], models=["gpt-4o-2024-11-20-2024"])
            return {getattr(result, "service_tier", None) for result in page.data[-1].results}

        assert until(lambda: tier in tiers())


def served_as(tier: str) -> Behaviour:
    """The fake's answer, and the tier in it, as OpenAI tells it."""

    def behave(visit: Visit) -> None:
        told = json.dumps({"service_tier": tier})[1:-1].encode()
        if visit.stream:
            data = b"".join(events(visit)).replace(b'data: {"', b"data: {" + told + b',"')
            visit.send(STREAM_HEAD + chunked(data) + b"0\r\n\r\n")
        else:
            visit.send(whole(b"{" + told + b"," + plain_answer(visit)[1:]))

    return behave


def test_tokens_that_were_written_to_a_cache(relay: Relay) -> None:
    details = {"cached_tokens": 3, "cache_write_tokens": 4, "image_tokens": 1}
    usage = {"prompt_tokens": 11, "completion_tokens": 7, "prompt_tokens_details": details}

    def behave(visit: Visit) -> None:
        visit.send(whole(json.dumps({**json.loads(plain_answer(visit)), "usage": usage}).encode()))

    relay.fake.script.append(behave)
    answer = raw.ask(relay.homeport, body=body("written"))
    told = receipt(relay, answer.headers["x-request-id"])
    used = {name: count for name, count in told["usage"].items() if count}
    assert used == {
        "input_tokens": 3,
        "cached_tokens": 3,
        "cache_write_tokens": 4,
        "input_image_tokens": 1,
        "output_tokens": 7,
    }
    assert told["total"] == "0.0000775"  # 3 x 2 + 3 x 0.5 + 4 x 2.5 + 1 x 4 + 7 x 8 millionths


def test_an_answer_from_the_cache_costs_nothing_and_says_what_was_saved(relay: Relay) -> None:
    first = raw.ask(relay.homeport, body=body("priced", user="f", seed=1))
    again = raw.ask(relay.homeport, body=body("priced", user="f", seed=1))
    assert again.headers["x-homeport-cache"] == "hit"
    assert again.headers["x-homeport-cost"] == "0"
    told = receipt(relay, again.headers["x-request-id"])
    assert (told["cache_hit"], told["total"], told["saved"]) == (True, "0", first.headers["x-homeport-cost"])
    page = f"/v1/homeport/savings?start_time={today()}&models=priced-2024"

    def saved() -> list[Any]:
        return [one["amount"]["value"] for one in raw.ask(relay.homeport, "GET", page).json["data"][-1]["results"]]

    assert until(lambda: saved() == [float(COST)])


@pytest.mark.parametrize("model", ["gpt-4", "gpt-3.5-turbo", "echo", "priced"])
def test_what_it_costs_at_list_price(relay: Relay, model: str) -> None:
    """Under the name that was asked for, whoever answers, and though it comes from the cache."""
    amounts = []
    for _ in ("answered", "from the cache"):
        answer = raw.ask(relay.homeport, body=body(model, user="l"))
        used = json.loads(answer.body)["usage"]
        told = receipt(relay, answer.headers["x-request-id"])
        amounts.append(told["listed"])
        if model in ("gpt-4", "gpt-3.5-turbo"):
            rates = {"gpt-4": (30, 60), "gpt-3.5-turbo": (Decimal("0.5"), Decimal("1.5"))}[model]
            wanted = used["prompt_tokens"] * rates[0] + used["completion_tokens"] * rates[1]
            assert Decimal(told["listed"]) * 10**6 == wanted
            assert told["total"] is None, "this machine's own cost nobody knows"
        else:
            assert told["listed"] is None
    assert told["cache_hit"]
    assert amounts[0] == amounts[1]


def test_what_is_partly_from_the_cache_costs_all_of_it_at_list_price(relay: Relay) -> None:
    """2 cents a million tokens, of a model of this machine that is called so."""
    receipts = []
    for texts in (["a text"], ["a text", "another one"], ["a text", "another one"]):
        asked = {"model": "text-embedding-3-small", "input": texts}
        answer = raw.ask(relay.homeport, path="/v1/embeddings", body=asked)
        assert answer.status == 200, answer.body
        told = receipt(relay, answer.headers["x-request-id"])
        tokens = json.loads(answer.body)["usage"]["prompt_tokens"]
        assert Decimal(told["listed"]) * 10**6 == tokens * Decimal("0.02")
        receipts.append((told["cache_hit"], told["usage"]["input_tokens"] < tokens))
    assert receipts == [(False, False), (False, True), (True, False)]


def test_the_operators_price_is_no_list_price(relay: Relay) -> None:
    """gpt-4o costs 2.50 and 10 dollars a million tokens in the list, cached input half."""
    answer = raw.ask(relay.homeport, body=body("gpt-4o-2024-11-20", user="m"))
    told = receipt(relay, answer.headers["x-request-id"])
    assert (told["total"], told["listed"]) == ("0.00009375", "0.00009375")
    own = raw.ask(relay.homeport, body=body("gpt-4o-mini", user="m"))
    told = receipt(relay, own.headers["x-request-id"])
    assert told["total"] == COST
    assert Decimal(told["listed"]) * 10**6 == Decimal("0.15") * 8 + Decimal("0.075") * 3 + Decimal("0.6") * 7


def test_usage_and_costs_add_up_to_the_receipts(relay: Relay) -> None:
    with openai.OpenAI(admin_api_key=KEY, api_key=KEY, base_url=relay.homeport.base_url, max_retries=0) as client:
        project = client.admin.organization.projects.create(name="adding up")
        keys = f"/v1/homeport/projects/{project.id}/api_keys"
        key = raw.ask(relay.homeport, "POST", keys, {"name": "k"}).json["value"]
        assert until(lambda: raw.ask(relay.homeport, body=body("echo"), key=key).status == 200)
        for number in range(3):
            raw.ask(relay.homeport, body=body("priced", seed=number + 10), key=key)

        def counted() -> bool:
            costs = client.admin.organization.usage.costs(start_time=today(), project_ids=[project.id], limit=1)
            results = json.loads(costs.model_dump_json())["data"][0]["results"]
            amounts = [Decimal(str(result["amount"]["value"])) for result in results]
            return sum(amounts, Decimal(0)) == 3 * Decimal(COST)

        assert until(counted)
        page = client.admin.organization.usage.completions(
            start_time=today(), bucket_width="1d", project_ids=[project.id], models=["priced-2024"], group_by=["model"]
        )
        (result,) = page.data[-1].results
        assert result.object == "organization.usage.completions.result"
        assert (result.input_tokens, result.input_cached_tokens, result.output_tokens) == (33, 9, 21)
        assert (result.num_model_requests, result.model) == (3, "priced-2024")


def today() -> int:
    from homeport import clock

    return int(clock.now()) // 86_400 * 86_400


def test_a_receipt_is_told_to_its_own_project_alone(relay: Relay) -> None:
    request_id = raw.ask(relay.homeport, body=body("echo", user="g")).headers["x-request-id"]
    with openai.OpenAI(admin_api_key=KEY, api_key=KEY, base_url=relay.homeport.base_url, max_retries=0) as client:
        project = client.admin.organization.projects.create(name="others")
        account = client.admin.organization.projects.service_accounts.create(project.id, name="robot")
        assert account.api_key is not None
        key = account.api_key.value
    assert until(lambda: raw.ask(relay.homeport, "GET", "/v1/models", key=key).status == 200)
    answer = raw.ask(relay.homeport, "GET", f"/v1/homeport/receipts/{request_id}", key=key)
    assert (answer.status, answer.error["type"]) == (404, "invalid_request_error")
    assert receipt(relay, request_id)["request_id"] == request_id
    assert raw.ask(relay.homeport, "GET", f"/v1/homeport/receipts/{request_id}", key="sk-nobody").status == 401


def test_a_receipt_is_waited_for(relay: Relay) -> None:
    """Of an answer that has only begun."""
    end = threading.Event()

    def behave(visit: Visit) -> None:
        first, *rest = events(visit)
        visit.send(STREAM_HEAD + chunked(first))
        assert end.wait(60)
        visit.send(chunked(b"".join(rest)) + b"0\r\n\r\n")

    relay.fake.script.append(behave)
    with connect(relay.homeport) as connection, ThreadPoolExecutor() as pool:
        connection.sendall(request_bytes(body("priced", stream=True, seed=4242)))
        head = connection.recv(65536)
        while b"\r\n\r\n" not in head:
            head += connection.recv(65536)
        request_id = head.partition(b"x-request-id: ")[2].partition(b"\r\n")[0].decode()
        path = f"/v1/homeport/receipts/{request_id}"
        assert raw.ask(relay.homeport, "GET", path).status == 404
        waiting = pool.submit(raw.ask, relay.homeport, "GET", f"{path}?wait=30")
        end.set()
        assert waiting.result().json["total"] == COST


@pytest.mark.parametrize("wait", ["31", "-1", "soon", "1.5", "9" * 5000, "%C2%B2"])
def test_how_long_a_receipt_is_waited_for(relay: Relay, wait: str) -> None:
    answer = raw.ask(relay.homeport, "GET", f"/v1/homeport/receipts/req_none?wait={wait}")
    assert (answer.status, answer.error["param"]) == (400, "wait")
