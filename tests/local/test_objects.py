"""Every object is what the official SDK's types say."""

from typing import Any

import pytest
from openai.types import Completion
from openai.types.chat import ChatCompletion, ChatCompletionChunk

from tests.local.running import chat, complete
from tests.local.test_chat import Script
from tests.local.test_tools import OSLO, ROME, TOOLS, function

CASES: dict[str, dict[str, Any]] = {
    "text": {},
    "choices": {"n": 2, "service_tier": "auto", "metadata": {"a": "b"}},
    "logprobs": {"logprobs": True, "top_logprobs": 2},
    "tools": {"tools": TOOLS, "engine": Script("Well. ", ROME, OSLO)},
    "functions": {"functions": [function("weather")], "engine": Script(ROME)},
    "cut": {"max_tokens": 2},
}


@pytest.mark.parametrize("request_", CASES.values(), ids=CASES.keys())
def test_chat(request_: dict[str, Any]) -> None:
    body = chat(**request_).body
    completion = ChatCompletion.model_validate(body, strict=True)
    assert completion.model_extra in ({}, {"metadata": {"a": "b"}}, None)
    assert completion.choices[0].message.model_extra in ({}, None)
    options = {"include_usage": True, "include_obfuscation": True}
    request_ = {key: value for key, value in request_.items() if key != "metadata"}
    for event in chat(stream=True, stream_options=options, **request_).body:
        chunk = ChatCompletionChunk.model_validate(event, strict=True)
        assert set(chunk.model_extra or {}) <= {"obfuscation"}
        assert all(not choice.delta.model_extra for choice in chunk.choices)


@pytest.mark.parametrize("request_", [{}, {"logprobs": 2}, {"n": 2, "max_tokens": 1}])
def test_completions(request_: dict[str, Any]) -> None:
    assert not Completion.model_validate(complete(**request_).body, strict=True).model_extra
    for event in complete(stream=True, **request_).body:
        choice = event["choices"][0]
        if choice["finish_reason"] is None:  # the SDK's type knows finished choices only
            choice["finish_reason"] = "stop"
        assert not Completion.model_validate(event, strict=True).model_extra
