"""Turns and tools: what a loop asks its model, what it tells its scribe, and how it ends."""

import asyncio
import json
from typing import Any

import pytest

from homeport.backends.capabilities import Frame
from homeport.errors import HomeportError, InvalidRequest, RateLimited, UpstreamFailed
from homeport.loop.turns import Outcome
from homeport.store.calls import Calling, MadeFile, Passage, Ran, Searched
from tests.loop.models import WEATHER, Going, Model, Scribe, Tool, Turn, call, go, plan

PASSAGE = Passage("【0:0†tides.txt】", "file-1", "tides.txt", 0.9, "High tide is at noon.")
FOUND = Searched(["tides"], [PASSAGE])


def gone(*turns: Turn, hosted: tuple[Tool, ...] = (), counts: tuple[int, int] | None = (10, 5), **more: Any) -> Going:
    model = Model(*turns)
    model.counts = counts
    return asyncio.run(go(model, plan(**more), *hosted))


def tools_of(request: dict[str, Any]) -> list[str]:
    return [tool["function"]["name"] for tool in request.get("tools", ())]


def test_a_model_that_calls_nothing_is_asked_once() -> None:
    done = gone(["Good ", "day"], parameters={"temperature": 0.5})
    assert done.outcome == Outcome("completed", model="m-2024")
    assert done.scribe.told == ["Good ", "day", ("message", ""), ("turn", [])]
    assert done.scribe.used == [(10, 5, 0, 0)]
    (asked,) = done.model.asked
    assert asked == {
        "model": "m",
        "temperature": 0.5,
        "messages": [{"role": "user", "content": "Hello"}],
        "stream": True,
        "stream_options": {"include_usage": True},
    }


def test_a_hosted_call_is_made_and_its_output_is_told_to_the_model() -> None:
    search = Tool(result=FOUND)
    first: list[Any] = ["\n\n", call("file_search", '{"que', id="call_a"), call("", 'ries":["tides"]}')]
    done = gone([*first, "<tool_calls>"], ["At noon 【0:0†tides.txt】."], hosted=(search,))
    assert done.outcome.status == "completed"
    assert search.called == ['{"queries":["tides"]}']
    assert done.scribe.told == [
        ("began", "file_search"),
        ("arguments", "file_search", '{"que'),
        ("arguments", "file_search", 'ries":["tides"]}'),
        ("turn", ["file_search"]),
        ("ended", "file_search", "found"),
        "At noon 【0:0†tides.txt】.",
        ("message", ""),
        ("turn", []),
    ]
    (annotation,) = done.scribe.annotations
    assert (annotation.file_id, annotation.begins, annotation.ends) == ("file-1", 8, 23)
    assert done.model.asked[1]["messages"][1:] == [
        {
            "role": "assistant",
            "content": None,
            "tool_calls": [
                {
                    "id": "call_a",
                    "type": "function",
                    "function": {"name": "file_search", "arguments": '{"queries":["tides"]}'},
                }
            ],
        },
        {"role": "tool", "tool_call_id": "call_a", "content": "found"},
    ]


def test_functions_end_the_loop_after_the_hosted_calls_of_their_turn() -> None:
    search = Tool()
    said: list[Any] = ["I look. ", call("weather", '{"city":"Kiel"}'), call("file_search", "{}", at=1)]
    done = gone(said, hosted=(search,), functions=[WEATHER])
    assert done.outcome.status == "requires_action"
    (wanted,) = done.outcome.calls
    assert (wanted.type, wanted.name, wanted.arguments, wanted.output) == (
        "function",
        "weather",
        '{"city":"Kiel"}',
        None,
    )
    assert wanted.id.startswith("call_")
    assert search.called == ["{}"]
    assert done.scribe.told[:2] == ["I look. ", ("message", "")]
    assert done.scribe.told[-2:] == [("turn", ["weather", "file_search"]), ("ended", "file_search", "found")]


def test_an_interrupted_turn_goes_on_with_the_calls_that_are_left() -> None:
    pending = [
        Calling(id="call_b", type="file_search", name="file_search", arguments="{}"),
        Calling(id="call_c", type="function", name="weather", arguments="{}"),
    ]
    search = Tool(result=FOUND)
    done = gone(hosted=(search,), functions=[WEATHER], pending=pending)
    assert [one.id for one in done.outcome.calls] == ["call_c"]
    assert done.scribe.told == [("ended", "file_search", "found")]
    assert not done.model.asked

    own: dict[str, Any] = {"role": "assistant", "content": None, "tool_calls": [{"id": "call_b"}]}
    messages = [{"role": "user", "content": "Tides?"}, own]
    model = Model(["Noon【0:0】"])
    done = asyncio.run(go(model, plan(*messages, own=1, pending=pending[:1], first=False), Tool(result=FOUND)))
    assert done.outcome.status == "completed"
    assert model.asked[0]["messages"][-1]["content"] == pending[0].output


@pytest.mark.parametrize(
    ("name", "arguments", "told"),
    [
        ("weather", '{"city": ', "The arguments are no JSON object. "),
        ("weather", '["Kiel"]', "The arguments are no JSON object. "),
        ("whether", "{}", "There is no tool 'whether'. There are: weather, file_search."),
    ],
)
def test_a_call_that_nobody_can_make_is_told_to_the_model(name: str, arguments: str, told: str) -> None:
    done = gone([call(name, arguments)], ["Sorry."], hosted=(Tool(),), functions=[WEATHER])
    assert done.outcome.status == "completed"
    assistant, output = done.model.asked[1]["messages"][1:]
    assert output["content"].startswith(told)
    assert isinstance(json.loads(assistant["tool_calls"][0]["function"]["arguments"]), dict)


def test_a_call_without_arguments_is_one() -> None:
    done = gone([call("weather", "")], functions=[WEATHER])
    assert done.outcome.status == "requires_action"


def test_the_tool_choice_is_of_the_first_turn_alone() -> None:
    search = Tool()
    done = gone([call("file_search", "{}")], ["Done"], hosted=(search,), tool_choice={"type": "file_search"})
    first, second = done.model.asked
    assert first["tool_choice"] == {"type": "function", "function": {"name": "file_search"}}
    assert "tool_choice" not in second
    later = gone(["Done"], hosted=(search,), tool_choice="required", first=False)
    assert "tool_choice" not in later.model.asked[0]
    without = gone(["Done"], tool_choice="auto", parallel_tool_calls=False)
    assert not {"tool_choice", "tools", "parallel_tool_calls"} & without.model.asked[0].keys()
    one = gone(["Done"], functions=[WEATHER], parallel_tool_calls=False)
    assert one.model.asked[0]["parallel_tool_calls"] is False


def test_a_loop_that_does_not_end_fails() -> None:
    with pytest.raises(HomeportError, match="assistants.max_turns"):
        gone(*[[call("file_search", "{}")]] * 9, hosted=(Tool(),))
    own = [{"role": "assistant", "content": "..."}] * 8
    with pytest.raises(HomeportError, match="called 8 times"):
        asyncio.run(go(Model(["x"]), plan({"role": "user", "content": "?"}, *own, own=8)))


def test_hosted_calls_may_be_counted() -> None:
    search = Tool()
    two = [call("file_search", "1"), call("file_search", "2", at=1)]
    done = gone(two, ["Enough."], hosted=(search,), functions=[WEATHER], most_calls=1)
    assert search.called == ["1"]
    assert done.scribe.told[-4][:2] == ("ended", "file_search")
    assert "cannot be called any more" in done.scribe.told[-4][2]
    assert tools_of(done.model.asked[1]) == ["weather"]


def test_tokens_of_answers_are_counted_over_all_turns() -> None:
    turns = [call("file_search", "{}")], [call("file_search", "{}")], ["never"]
    done = gone(*turns, hosted=(Tool(),), most_completion=8)
    assert [one["max_completion_tokens"] for one in done.model.asked] == [8, 3]
    assert [one.max_tokens for one in done.model.calls] == [8, 3]
    assert done.outcome[:3] == ("incomplete", (), "max_completion_tokens")


def test_tokens_of_prompts_are_counted_over_all_turns() -> None:
    turns = [call("file_search", "{}")], ["never"]
    done = gone(*turns, hosted=(Tool(),), most_prompt=200, counts=(200, 1))
    assert len(done.model.asked) == 1
    assert done.outcome[:3] == ("incomplete", (), "max_prompt_tokens")
    nothing = gone(most_prompt=2)
    assert nothing.outcome.reason == "max_prompt_tokens"
    assert not nothing.model.asked


@pytest.mark.parametrize(
    ("finish", "message", "reason"),
    [("length", "max_tokens", "max_completion_tokens"), ("content_filter", "content_filter", "content_filter")],
)
def test_an_answer_that_is_cut_is_incomplete(finish: str, message: str, reason: str) -> None:
    done = gone(["Half a", f"<{finish}>"])
    assert done.outcome == Outcome("incomplete", reason=reason, model="m-2024")
    assert done.scribe.told == ["Half a", ("message", message), ("turn", [])]


def test_calls_that_are_cut_are_not_made() -> None:
    search = Tool()
    done = gone([call("file_search", '{"queries": ["ti'), "<length>"], hosted=(search,))
    assert done.outcome.status == "incomplete"
    assert not search.called
    assert done.scribe.told[-1] == ("turn", [])


def test_refusals_and_thoughts() -> None:
    done = gone([{"reasoning_content": "Hm. "}, {"reasoning": "No."}, {"refusal": "I cannot."}, {"reasoning": "late"}])
    assert done.scribe.told == [
        ("reasoning", "Hm. "),
        ("reasoning", "No."),
        ("refusal", "I cannot."),
        ("message", ""),
        ("turn", []),
    ]


def test_calls_are_known_whatever_a_server_says_of_them() -> None:
    def names(*deltas: Any) -> list[tuple[str, str]]:
        done = gone([*deltas], functions=[WEATHER, {"type": "function", "function": {"name": "time"}}])
        return [(one.name, one.arguments) for one in done.outcome.calls]

    both = [("weather", '{"a":1}'), ("time", '{"b":2}')]
    assert names(call("weather", '{"a":1}', id="x"), call("time", '{"b":2}', id="y")) == both  # one index
    without = [{"tool_calls": [{"function": {"name": n, "arguments": a}}]} for n, a in both]
    assert names(*without) == both
    twice = [call("weather", '{"a"', id="x"), call("weather", ":1}", id="x"), call("time", '{"b":2}', at=1, id="y")]
    assert names(*twice) == both
    assert names({"tool_calls": [{"index": 0, "id": "x", "function": {"arguments": "{}"}}]}) == []


def test_ids_of_calls_are_their_own() -> None:
    """Some servers number calls from 0 in each answer."""
    done = gone(
        [call("file_search", "{}", id="call_0")],
        [call("weather", "{}", id="call_0")],
        hosted=(Tool(),),
        functions=[WEATHER],
    )
    (wanted,) = done.outcome.calls
    assert wanted.id != "call_0"


def test_what_is_said_behind_a_call_is_left_out() -> None:
    done = gone([call("weather", "{}"), "So ", {"reasoning": "hm"}], functions=[WEATHER])
    assert [one if isinstance(one, str) else one[0] for one in done.scribe.told] == ["began", "arguments", "turn"]


def test_tokens_that_nobody_counts_are_estimated() -> None:
    done = gone(["Hello there, this is a sentence."], counts=None)
    (used,) = done.scribe.used
    assert used.prompt > 0
    assert used.completion > 4


def test_what_is_refused_for_the_moment_is_asked_again() -> None:
    refused = [RateLimited("Too many.", kind="requests"), UpstreamFailed("Away.")]
    waited: list[int] = []

    def wait(error: HomeportError, tried: int) -> float | None:
        waited.append(tried)
        return 0.0 if isinstance(error, RateLimited | UpstreamFailed) else None

    done = asyncio.run(go(Model(*refused, ["Hello"]), plan(), wait=wait))
    assert done.outcome.status == "completed"
    assert waited == [1, 2]
    assert len({one.request_id for one in done.model.calls}) == 3
    with pytest.raises(InvalidRequest):
        asyncio.run(go(Model(InvalidRequest("No.")), plan(), wait=wait))
    with pytest.raises(RateLimited):
        asyncio.run(go(Model(refused[0]), plan()))


def test_a_stream_that_breaks_off_is_not_asked_for_again() -> None:
    scribe = Scribe()
    with pytest.raises(UpstreamFailed):
        asyncio.run(
            go(Model(["Good ", "day", UpstreamFailed("Cut.")], ["no"]), plan(), scribe=scribe, wait=lambda *_: 0.0)
        )
    assert scribe.told == ["Good ", "day"]


def test_what_the_scribe_raises_ends_the_loop() -> None:
    class LeaseLost(Exception):
        pass

    scribe = Scribe()
    scribe.fails = LeaseLost()
    with pytest.raises(LeaseLost):
        asyncio.run(go(Model(["Hello", "you"]), plan(), scribe=scribe))
    scribe.fails = UpstreamFailed("The database is away, say.")
    with pytest.raises(UpstreamFailed):
        asyncio.run(go(Model(["Hello", "you"], ["never"]), plan(), scribe=scribe, wait=lambda *_: 0.0))


def test_what_a_tool_raises_ends_the_loop() -> None:
    search = Tool()
    search.fails = InvalidRequest("The vector store vs_1 has expired.")
    with pytest.raises(InvalidRequest, match="has expired"):
        gone([call("file_search", "{}")], hosted=(search,))


def test_an_answer_that_is_none_fails() -> None:
    class Nonsense(Model):
        async def stream(self, endpoint: Any, principal: Any, call: Any, outlet: Any) -> None:
            outlet.begin(Frame(b'data: {"choices": 5}\n\n'))

    with pytest.raises(UpstreamFailed, match="no chunk"):
        asyncio.run(go(Nonsense(), plan()))


def test_the_first_request_has_the_id_that_it_was_given() -> None:
    done = gone([call("file_search", "{}")], ["x"], hosted=(Tool(),), request_id="req_1")
    first, second = (one.request_id for one in done.model.calls)
    assert first == "req_1"
    assert second.startswith("req_")
    assert second != first


def test_code_that_has_run_is_cited_by_its_files() -> None:
    ran = Ran("cntr_1", "1", "", [MadeFile("plot.png", "file-2", "cfile_2", 3, image=True)])
    done = gone(["See sandbox:/mnt/data/plot.png"], sources=[ran])
    (annotation,) = done.scribe.annotations
    assert (annotation.type, annotation.file_id) == ("file_path", "file-2")
