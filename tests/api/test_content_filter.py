"""Chats and completions of projects that have them moderated. To `echo`, which judges here, a text is of the categories
that it names; and it says what was said to it, so that its answers are of them, too."""

import json
from collections.abc import Iterator, Sequence
from typing import Any

import openai
import pytest

from homeport.gateway import counting
from tests import batches, openapi
from tests.api import raw
from tests.api.owners import client_of, new_key, new_project
from tests.fake_upstream import STREAM_HEAD, Behaviour, Visit, chunked, event, until, whole
from tests.server import Running
from tests.upstreams.homeports import Relay, relaying

BLOCK = {"mode": "block"}
BAD = "so much violence in here"
#: Long enough to be released before what follows it.
GOOD = "The garden was quiet and the evening light lay on the roofs of the little town. "


def moderated(server: Running, name: str, *, put: bool = True, **rule: Any) -> str:
    """A key of a new project with this policy."""
    project = new_project(server, name)
    if put:
        moderate(server, project, **rule)
    return new_key(server, project)


def moderate(server: Running, project: str, **rule: Any) -> raw.Answer:
    more = {name: rule.pop(name) for name in ("model", "threshold") if name in rule}
    answer = raw.ask(server, "POST", f"/v1/homeport/projects/{project}/moderation", {"policy": rule, **more})
    assert answer.status == 200, answer.body
    return answer


@pytest.fixture(scope="module")
def relay(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Relay]:
    """An upstream for every model but `echo`, which moderates, too."""
    names = ("omni-moderation-latest",)
    settings = {"models": {"echo": {"engine": "echo", "aliases": names}}, "cache": {"ttl_seconds": 600}}
    with relaying(tmp_path_factory.mktemp("filter"), settings) as made:
        yield made


@pytest.fixture(scope="module")
def strict(relay: Relay) -> str:
    """A key of a project that has its output moderated."""
    return moderated(relay.homeport, "strict", output=BLOCK)


@pytest.fixture(scope="module")
def careful(relay: Relay) -> str:
    """The same of its input."""
    return moderated(relay.homeport, "careful", input=BLOCK)


def chat(text: str, model: str = "echo", **more: Any) -> dict[str, Any]:
    return {"model": model, "messages": [{"role": "user", "content": text}], **more}


def spoken(part: Any) -> dict[str, Any]:
    return {"model": "far", "messages": [{"role": "user", "content": [part]}]}


def answering(*choices: dict[str, Any], **more: Any) -> Behaviour:
    """An upstream's plain answer."""
    body = {"id": "chatcmpl-1", "object": "chat.completion", "created": 1, "model": "m", "choices": choices, **more}
    return lambda visit: visit.send(whole(json.dumps(body).encode()))


def choice(index: int, text: str | None, **message: Any) -> dict[str, Any]:
    spoken = {"role": "assistant", "content": text, "refusal": None, **message}
    return {"index": index, "message": spoken, "logprobs": None, "finish_reason": "stop"}


def streaming(visit_chunks: Sequence[tuple[int, str]], ends: Sequence[int] = (0,)) -> Behaviour:
    """An upstream's stream: a chunk for each (choice, text)."""

    def behave(visit: Visit) -> None:
        head = {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m"}
        visit.send(STREAM_HEAD)
        for index in ends:
            opening = {"index": index, "delta": {"role": "assistant", "content": ""}, "finish_reason": None}
            visit.send(chunked(event({**head, "choices": [opening]})))
        for index, text in visit_chunks:
            piece = {"index": index, "delta": {"content": text}, "finish_reason": None}
            visit.send(chunked(event({**head, "choices": [piece]})))
        for index in ends:
            last = {"index": index, "delta": {}, "finish_reason": "stop"}
            visit.send(chunked(event({**head, "choices": [last]})))
        visit.send(chunked(b"data: [DONE]\n\n") + b"0\r\n\r\n")

    return behave


def texts(client: openai.OpenAI, model: str = "far", **more: Any) -> tuple[dict[int, str], dict[int, str | None]]:
    """Of a stream: what each choice said, and how it ended."""
    said: dict[int, str] = {}
    ended: dict[int, str | None] = {}
    stream = client.chat.completions.create(
        model=model, messages=[{"role": "user", "content": "tell"}], stream=True, **more
    )
    for chunk in stream:
        for one in chunk.choices:
            said[one.index] = said.get(one.index, "") + (one.delta.content or "")
            if one.finish_reason is not None:
                assert one.index not in ended
                ended[one.index] = one.finish_reason
    return said, ended


def test_who_does_not_ask_for_it_is_not_moderated(relay: Relay) -> None:
    assert raw.ask(relay.homeport, body=chat(BAD)).json["choices"][0]["finish_reason"] == "stop"


def test_input_is_refused_before_anybody_sees_it(relay: Relay, careful: str) -> None:
    before = len(relay.fake.received)
    with client_of(relay.homeport, careful) as client:
        with pytest.raises(openai.BadRequestError, match="violence") as caught:
            client.chat.completions.create(model="far", messages=[{"role": "user", "content": BAD}])
        assert (caught.value.code, caught.value.param) == ("content_policy_violation", "messages")
        for stream in (False, True):
            with pytest.raises(openai.BadRequestError) as caught:
                client.completions.create(model="echo", prompt=["fine", BAD], stream=stream)
            assert (caught.value.code, caught.value.param) == ("content_policy_violation", "prompt")
        assert (
            client.chat.completions.create(model="echo", messages=[{"role": "user", "content": "hello"}])
            .choices[0]
            .message.content
            == "hello"
        )
    assert len(relay.fake.received) == before


@pytest.mark.parametrize(
    "messages",
    [
        [{"role": "system", "content": BAD}, {"role": "user", "content": "go on"}],
        [{"role": "user", "content": [{"type": "text", "text": BAD}]}],
        [
            {"role": "user", "content": "go on"},
            {
                "role": "assistant",
                "tool_calls": [
                    {"id": "c", "type": "function", "function": {"name": "f", "arguments": f'{{"a": "{BAD}"}}'}}
                ],
            },
            {"role": "tool", "tool_call_id": "c", "content": "fine"},
        ],
    ],
    ids=["system", "part", "arguments"],
)
def test_all_of_the_conversation_counts(relay: Relay, careful: str, messages: Any) -> None:
    answer = raw.ask(relay.homeport, body={"model": "echo", "messages": messages}, key=careful)
    assert (answer.status, answer.error["code"]) == (400, "content_policy_violation")


@pytest.mark.parametrize(
    ("path", "body", "param"),
    [
        ("/v1/completions", {"model": "echo", "prompt": [104, 105]}, "prompt"),
        ("/v1/completions", {"model": "echo", "prompt": [[104, 105]]}, "prompt"),
        (raw.CHAT, spoken({"type": "input_audio"}), "messages"),
        (raw.CHAT, spoken({"type": "image_url"}), "messages"),
        (raw.CHAT, spoken({"type": "image_url", "image_url": {"url": "https://example.com/1.png"}}), "messages"),
    ],
    ids=["tokens", "lists of tokens", "audio", "no image", "an image"],
)
def test_what_cannot_be_judged_is_refused(relay: Relay, careful: str, path: str, body: Any, param: str) -> None:
    before = len(relay.fake.received)
    answer = raw.ask(relay.homeport, path=path, body=body, key=careful)
    assert (answer.status, answer.error["param"]) == (400, param)
    assert "moderated" in answer.error["message"]
    assert len(relay.fake.received) == before


def test_a_flagged_answer_comes_without_its_content(relay: Relay, strict: str) -> None:
    usage = {"prompt_tokens": 3, "completion_tokens": 5, "total_tokens": 8}
    relay.fake.script.append(answering(choice(0, BAD), choice(1, "all is well"), usage=usage))
    answer = raw.ask(relay.homeport, body=chat("tell", "far", n=2), key=strict)
    first, second = answer.json["choices"]
    assert (first["finish_reason"], first["message"]["content"]) == ("content_filter", None)
    assert (second["finish_reason"], second["message"]["content"]) == ("stop", "all is well")
    assert answer.json["usage"] == usage
    assert b"violence" not in answer.body
    openapi.validate("CreateChatCompletionResponse", answer.json)


def test_arguments_of_tools_count(relay: Relay, strict: str) -> None:
    call = {"id": "c", "type": "function", "function": {"name": "f", "arguments": json.dumps({"a": BAD})}}
    relay.fake.script.append(answering(choice(0, None, tool_calls=[call])))
    answer = raw.ask(relay.homeport, body=chat("tell", "far"), key=strict)
    assert answer.json["choices"][0]["finish_reason"] == "content_filter"
    assert "tool_calls" not in answer.json["choices"][0]["message"]


def test_completions_are_moderated_too(relay: Relay, strict: str) -> None:
    with client_of(relay.homeport, strict) as client:
        plain = client.completions.create(model="echo", prompt=["fine", BAD], max_tokens=100)
        assert [(one.text, one.finish_reason) for one in plain.choices] == [("fine", "stop"), ("", "content_filter")]
        said = {0: "", 1: ""}
        ended: dict[int, str] = {}
        for chunk in client.completions.create(model="echo", prompt=["fine", BAD], max_tokens=100, stream=True):
            for one in chunk.choices:
                said[one.index] += one.text
                if one.finish_reason is not None:
                    ended[one.index] = one.finish_reason
    assert said == {0: "fine", 1: ""}
    assert ended == {0: "stop", 1: "content_filter"}


def test_a_stream_that_is_clean_comes_as_it_is(relay: Relay, strict: str) -> None:
    pieces = [(0, word + " ") for word in (GOOD * 4).split()]
    relay.fake.by_model["clean"] = streaming(pieces)
    plain = raw.ask(relay.homeport, body=chat("tell", "clean", stream=True))
    filtered = raw.ask(relay.homeport, body=chat("tell", "clean", stream=True), key=strict)
    assert plain.body == filtered.body
    assert plain.body.count(b"data: ") > len(pieces)


def test_a_stream_ends_where_it_is_flagged(relay: Relay, strict: str) -> None:
    """What came before is there, what is flagged is not, and nothing after it."""
    counting.count_text("turning", "x")  # the tokenizer takes seconds the first time
    pieces = [*GOOD, *"and then there was viol", "ence", *GOOD, *GOOD * 4]
    relay.fake.by_model["turning"] = streaming([(0, piece) for piece in pieces])
    with client_of(relay.homeport, strict) as client:
        said, ended = texts(client, "turning")
    assert said[0].rstrip() == GOOD.rstrip()
    assert ended == {0: "content_filter"}
    (row,) = relay.rows("turning")
    assert (row["outcome"], row["estimated"]) == ("completed", 1)
    assert row["completion_tokens"] > len(GOOD.split()), "what was made and not shown is counted"


def test_what_is_flagged_over_a_seam_is_withheld(relay: Relay, strict: str) -> None:
    """The name of the category is torn by the end of what was judged before."""
    torn = "a" * 238 + "se"
    relay.fake.script.append(streaming([(0, torn), (0, "xual"), (0, " and more")]))
    with client_of(relay.homeport, strict) as client:
        said, ended = texts(client)
    assert said == {0: torn}
    assert ended == {0: "content_filter"}


def test_of_several_choices_one_may_go_on(relay: Relay, strict: str) -> None:
    relay.fake.script.append(streaming([(0, BAD), (1, GOOD), (0, GOOD), (1, GOOD)], ends=(0, 1)))
    with client_of(relay.homeport, strict) as client:
        said, ended = texts(client, n=2)
    assert said == {0: "", 1: GOOD * 2}
    assert ended == {0: "content_filter", 1: "stop"}


def test_the_cache_is_no_way_around_it(relay: Relay, strict: str) -> None:
    relay.fake.by_model["kept"] = answering(
        choice(0, BAD), usage={"prompt_tokens": 3, "completion_tokens": 5, "total_tokens": 8}
    )
    body, headers = chat("tell", "kept"), {"x-homeport-cache": "on"}
    answers = [raw.ask(relay.homeport, body=body, key=strict, headers=dict(headers)) for _ in range(2)]
    assert [one.headers["x-homeport-cache"] for one in answers] == ["miss", "hit"]
    assert [one.json["choices"][0]["finish_reason"] for one in answers] == ["content_filter"] * 2
    assert len(relay.fake.received_for("kept")) == 1


def test_without_a_judge_nothing_is_let_through(relay: Relay) -> None:
    """The model may be another one than the default, and is one that the key may not use by itself."""
    key = moderated(relay.homeport, "far judged", output=BLOCK, model="judge")

    def judge(visit: Visit) -> None:
        results = [{"flagged": True, "categories": {"hate": True}, "category_scores": {"hate": 0.9}}]
        visit.send(whole(json.dumps({"id": "modr-1", "model": "judge", "results": results}).encode()))

    relay.fake.by_model["judge"] = judge
    answer = raw.ask(relay.homeport, body=chat("fine"), key=key)
    assert answer.json["choices"][0]["finish_reason"] == "content_filter"
    relay.fake.by_model["judge"] = lambda visit: visit.send(whole(b'{"error": {"message": "no"}}', status=500))
    assert raw.ask(relay.homeport, body=chat("fine"), key=key).status == 500
    relay.fake.by_model["judge"] = lambda visit: visit.send(whole(b'{"results": []}'))
    assert raw.ask(relay.homeport, body=chat("fine"), key=key).status == 503


def test_a_threshold_of_the_projects_own(relay: Relay) -> None:
    key = moderated(relay.homeport, "thresholds", output=BLOCK, model="scoring", threshold=0.3)
    score = 0.2

    def judge(visit: Visit) -> None:
        results = [{"flagged": False, "categories": {"hate": False}, "category_scores": {"hate": score}}]
        visit.send(whole(json.dumps({"id": "modr-1", "model": "scoring", "results": results}).encode()))

    relay.fake.by_model["scoring"] = judge
    assert raw.ask(relay.homeport, body=chat("fine"), key=key).json["choices"][0]["finish_reason"] == "stop"
    score = 0.3
    assert raw.ask(relay.homeport, body=chat("fine"), key=key).json["choices"][0]["finish_reason"] == "content_filter"


def test_a_key_that_may_not_use_the_judge_is_judged_all_the_same(relay: Relay) -> None:
    project = new_project(relay.homeport, "narrow")
    moderate(relay.homeport, project, input=BLOCK)
    key = new_key(relay.homeport, project, models=["echo"])
    assert raw.ask(relay.homeport, path="/v1/moderations", body={"input": "a"}, key=key).status == 403
    assert raw.ask(relay.homeport, body=chat(BAD), key=key).status == 400
    assert raw.ask(relay.homeport, body=chat("fine"), key=key).status == 200


def test_a_model_that_does_not_moderate_is_told_to_the_operator(owning: Running) -> None:
    key = moderated(owning, "lost", input=BLOCK, model="nobody")
    answer = raw.ask(owning, body=chat("fine"), key=key)
    assert (answer.status, answer.error["code"]) == (503, "moderation_unavailable")
    assert "`nobody`" in answer.error["message"]


def test_lines_of_batches_are_moderated(owning: Running) -> None:
    key = moderated(owning, "lines", input=BLOCK)
    with client_of(owning, key) as client:
        batch = batches.run(client, [batches.chat(0, text=BAD), batches.chat(1, text="fine")])
        assert batch.error_file_id is not None
        (error,) = client.files.content(batch.error_file_id).text.splitlines()
        assert json.loads(error)["response"]["body"]["error"]["code"] == "content_policy_violation"
        assert batch.request_counts is not None
        assert batch.request_counts.completed == 1


def test_in_azures_style(relay: Relay) -> None:
    key = moderated(relay.homeport, "azure", input=BLOCK, output=BLOCK)
    path = "/openai/deployments/{}/chat/completions?api-version=2024-10-21"
    refused = raw.ask(relay.homeport, path=path.format("echo"), body=chat(BAD), headers={"api-key": key}, key=key)
    assert refused.status == 400
    assert refused.error["code"] == "content_filter"
    assert refused.error["innererror"]["code"] == "ResponsibleAIPolicyViolation"
    assert refused.error["innererror"]["content_filter_result"] == {
        "hate": {"filtered": False},
        "self_harm": {"filtered": False},
        "sexual": {"filtered": False},
        "violence": {"filtered": True},
    }
    relay.fake.script.append(answering(choice(0, "self-harm")))
    plain = raw.ask(relay.homeport, path=path.format("far"), body=chat("tell"), headers={"api-key": key}, key=key).json
    assert plain["choices"][0]["content_filter_results"]["self_harm"] == {"filtered": True}
    assert "error" not in plain["prompt_filter_results"][0]["content_filter_results"]
    relay.fake.script.append(streaming([(0, GOOD), (0, BAD)]))
    body = chat("tell", stream=True)
    streamed = raw.ask(relay.homeport, path=path.format("far"), body=body, headers={"api-key": key}, key=key)
    prelude, *chunks, done = raw.events(streamed.body)
    assert done == "[DONE]"
    assert "error" not in prelude["prompt_filter_results"][0]["content_filter_results"]
    assert {"filtered": False} == chunks[0]["choices"][0]["content_filter_results"]["violence"]
    assert chunks[-1]["choices"][0]["finish_reason"] == "content_filter"
    assert chunks[-1]["choices"][0]["content_filter_results"]["violence"] == {"filtered": True}


def test_the_rule_of_a_project(owning: Running) -> None:
    project = new_project(owning, "ruled")
    path = f"/v1/homeport/projects/{project}/moderation"
    none = {
        "object": "project.moderation",
        "model": "omni-moderation-latest",
        "policy": {"input": None, "output": None},
        "threshold": None,
    }
    assert raw.ask(owning, "GET", path).json == none
    set_to = moderate(owning, project, input=BLOCK, threshold=0.4).json
    assert set_to == {**none, "policy": {"input": BLOCK, "output": None}, "threshold": 0.4}
    assert raw.ask(owning, "GET", path).json == set_to
    key = new_key(owning, project)
    assert raw.ask(owning, body=chat(BAD), key=key).status == 400
    assert raw.ask(owning, "DELETE", path).json == {"object": "project.moderation.deleted", "deleted": True}
    assert raw.ask(owning, "DELETE", path).json["deleted"] is False
    assert until(lambda: raw.ask(owning, body=chat(BAD), key=key).status == 200)
    for wrong in (
        {"policy": {"input": {"mode": "score"}}},
        {"policy": {}, "threshold": 2},
        {"policy": {"else": BLOCK}},
    ):
        assert raw.ask(owning, "POST", path, wrong).status == 400
    assert raw.ask(owning, "POST", path, {"policy": {}}, key=key).status == 403


def test_the_settings_say_it_for_projects_without_a_rule(tmp_path: Any) -> None:
    from tests.server import running

    with running(tmp_path, {"moderation": {"input": True}}) as server:
        assert raw.ask(server, body=chat(BAD)).status == 400
        project = new_project(server, "free")
        moderate(server, project)
        assert raw.ask(server, body=chat(BAD), key=new_key(server, project)).status == 200
