"""Tools for a model whose template has no block for them: described in the system message, in the Hermes form.

Hermes is the form that most open models have seen in training (source: NousResearch's Hermes function calling).
"""

import json
from collections.abc import Mapping, Sequence

from homeport.backends.templates.formats import HERMES, written


def describe(tools: Sequence[Mapping[str, object]]) -> str:
    """The paragraph that goes behind the system message. tools: OpenAI's `{"type": "function", "function": {...}}`."""
    lines = "\n".join([json.dumps(tool, ensure_ascii=False) for tool in tools])
    return (
        "# Tools\n\nYou may call one or more functions to assist with the user query.\n\n"
        "You are provided with function signatures within <tools></tools> XML tags:\n"
        f"<tools>\n{lines}\n</tools>\n\n"
        "For each function call, return a json object with function name and arguments within "
        "<tool_call></tool_call> XML tags:\n"
        '<tool_call>\n{"name": <function-name>, "arguments": <args-json-object>}\n</tool_call>'
    )


def response(content: str) -> str:
    return f"<tool_response>\n{content}\n</tool_response>"


def without_tools(
    messages: Sequence[Mapping[str, object]], tools: Sequence[Mapping[str, object]]
) -> list[dict[str, object]]:
    """The same conversation in system, user and assistant messages alone; answers in a row share one message."""
    plain: list[dict[str, object]] = []
    answering = False
    for message in messages:
        role, content = message["role"], str(message.get("content") or "")
        if role == "tool":
            if answering:
                plain[-1]["content"] = f"{plain[-1]['content']}\n{response(content)}"
            else:
                plain.append({"role": "user", "content": response(content)})
        elif calls := message.get("tool_calls"):
            assert isinstance(calls, Sequence)
            plain.append({"role": role, "content": written(HERMES, calls, content)})
        else:
            plain.append(dict(message))
        answering = role == "tool"
    if tools:
        if plain and plain[0]["role"] == "system":
            plain[0]["content"] = f"{plain[0]['content']}\n\n{describe(tools)}"
        else:
            plain.insert(0, {"role": "system", "content": describe(tools)})
    return plain
