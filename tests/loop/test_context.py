"""What of a long conversation is sent."""

import asyncio
import json
from typing import Any

import pytest

from homeport.backends.capabilities import Call
from homeport.errors import ContextLengthExceeded, HomeportError, InvalidRequest, UpstreamRefused
from homeport.gateway import counting
from homeport.loop.context import Parts, TooLong
from homeport.loop.turns import Truncation
from tests.loop.models import Going, Model, go, plan

SYSTEM = {"role": "system", "content": "Be brief."}
LONG = "words " * 100


def conversation(count: int) -> list[dict[str, Any]]:
    roles = ["user", "assistant"]
    return [{"role": roles[at % 2], "content": f"{at} {LONG}"} for at in range(count)]


def numbers(messages: list[dict[str, Any]]) -> list[str]:
    return [str(message["content"]).split()[0] for message in messages]


def small(context: int) -> Any:
    """A model of which so many tokens may be asked, answers to it included."""

    def answer(call: Call) -> Any:
        body = json.loads(call.body)
        prompt = counting.count_request("m", body)
        asked = body.get("max_completion_tokens", 1)
        beginning = f"This model's maximum context length is {context} tokens. However, "
        if prompt + asked <= context:
            return ["ok"]
        return ContextLengthExceeded(
            f"{beginning}you requested {prompt + asked} tokens ({prompt} in the messages, {asked} in the completion)."
        )

    return answer


def gone(turn: Any, *messages: dict[str, Any], times: int = 5, **more: Any) -> Going:
    return asyncio.run(go(Model(*[turn] * times), plan(*messages, **more)))


def test_the_middle_is_left_out_until_a_model_takes_it() -> None:
    done = gone(small(700), SYSTEM, *conversation(9))
    assert done.outcome.status == "completed"
    assert len(done.model.asked) == 2
    assert numbers(done.model.asked[1]["messages"]) == ["Be", "0", "6", "7", "8"]


def test_a_first_message_that_is_too_long_is_left_out() -> None:
    first = {"role": "user", "content": LONG * 10}
    done = gone(small(700), SYSTEM, first, *conversation(9)[1:])
    assert numbers(done.model.asked[-1]["messages"]) == ["Be", "5", "6", "7", "8"]


def test_what_the_loop_has_said_stays() -> None:
    own = [{"role": "assistant", "content": f"own {LONG}"}]
    done = gone(small(700), SYSTEM, *conversation(9), *own, own=1, most_completion=5000)
    assert numbers(done.model.asked[-1]["messages"]) == ["Be", "0", "7", "8", "own"]
    assert done.model.asked[-1]["max_completion_tokens"] <= 175


def test_an_answer_that_was_to_be_too_long_is_made_shorter_first() -> None:
    done = gone(small(700), *conversation(2), most_completion=5000)
    first, second = done.model.asked
    assert first["messages"] == second["messages"]
    assert second["max_completion_tokens"] == 700 - counting.count_request("m", second)


def test_what_cannot_be_left_out_is_refused() -> None:
    with pytest.raises(ContextLengthExceeded):
        gone(small(50), {"role": "user", "content": LONG})


@pytest.mark.parametrize("kind", ["disabled", "last_messages"])
def test_nothing_else_is_left_out_where_nobody_wants_that(kind: Any) -> None:
    with pytest.raises(ContextLengthExceeded):
        gone(small(700), *conversation(9), truncation=Truncation(kind, 9))


def test_a_model_that_does_not_say_how_long_is_asked_with_less_and_less() -> None:
    body: dict[str, object] = {"message": "Too long!", "code": "context_length_exceeded"}
    model = Model(*[UpstreamRefused(400, body)] * 3, ["ok"])
    done = asyncio.run(go(model, plan(*conversation(9))))
    lengths = [len(one["messages"]) for one in done.model.asked]
    assert lengths == sorted(lengths, reverse=True)
    assert len(set(lengths)) == 4
    with pytest.raises(UpstreamRefused):
        asyncio.run(go(Model(*[UpstreamRefused(400, body)] * 9), plan(*conversation(9))))


def test_the_last_messages() -> None:
    last = Truncation("last_messages", 2)
    done = gone(["ok"], SYSTEM, *conversation(9), {"role": "assistant", "content": "own"}, own=1, truncation=last)
    assert numbers(done.model.asked[0]["messages"]) == ["Be", "7", "8", "own"]


def test_a_prompt_that_is_to_be_short_is_shortened_before_it_is_sent() -> None:
    done = gone(["ok"], SYSTEM, *conversation(9), most_prompt=500)
    assert numbers(done.model.asked[0]["messages"]) == ["Be", "0", "6", "7", "8"]
    assert counting.count_request("m", done.model.asked[0]) <= 500
    whole = gone(["ok"], SYSTEM, *conversation(9), most_prompt=500, truncation=Truncation("disabled"))
    assert whole.outcome.reason == "max_prompt_tokens"


def test_calls_stay_with_their_outputs() -> None:
    calling = {"role": "assistant", "content": None, "tool_calls": [{"id": "call_1"}]}
    output = {"role": "tool", "tool_call_id": "call_1", "content": "7"}
    user = {"role": "user", "content": "?"}
    parts = Parts.of([SYSTEM, user, calling, output, output, user, output], 1)
    assert list(map(len, parts.units)) == [1, 3, 1]
    assert parts.newest(3).messages() == [SYSTEM, user, output]
    assert parts.newest(4).messages() == [SYSTEM, calling, output, output, user, output]


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (ContextLengthExceeded("Long."), TooLong(None, None)),
        (InvalidRequest("the request exceeds the available context size (4096 tokens)"), TooLong(4096, None)),
        (InvalidRequest("prompt is too long: 208310 tokens > 200000 maximum"), TooLong(200000, 208310)),
        (
            InvalidRequest(
                "This model's maximum context length is 8192 tokens. However, your messages resulted in 9000 tokens."
            ),
            TooLong(8192, 9000),
        ),
        (
            UpstreamRefused(
                400, {"message": "Prompt contains 65673 tokens, too large for model with 32768 maximum context length"}
            ),
            TooLong(32768, 65673),
        ),
        (
            UpstreamRefused(
                400,
                {"message": "The input token count (1200000) exceeds the maximum number of tokens allowed (1048576)."},
            ),
            TooLong(1048576, 1200000),
        ),
        (InvalidRequest("Input tokens exceed the configured limit of 272000 tokens."), TooLong(272000, None)),
        (InvalidRequest("Invalid 'metadata': string too long."), None),
        (InvalidRequest("Unknown parameter."), None),
        (HomeportError("maximum context length is 8192 tokens"), None),
    ],
)
def test_what_models_say_of_a_prompt_that_is_too_long(error: HomeportError, told: TooLong | None) -> None:
    assert TooLong.of(error) == told
