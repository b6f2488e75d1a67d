"""A program as people write them on OpenAI's SDK: a small help desk. It knows nothing of Homeport."""

import json
from collections.abc import Iterator
from typing import Any

import openai

MODEL = "gpt-4o-mini"
TOOLS: list[Any] = [
    {
        "type": "function",
        "function": {
            "name": "order_status",
            "description": "Where an order is.",
            "parameters": {"type": "object", "properties": {"order": {"type": "string"}}, "required": ["order"]},
        },
    }
]
ORDERS = {"A-17": "shipped on Monday", "B-2": "waiting for parts"}


class HelpDesk:
    def __init__(self, client: openai.OpenAI) -> None:
        self._client = client

    def greet(self, name: str) -> str:
        answer = self._client.chat.completions.create(
            model=MODEL, messages=[{"role": "user", "content": f"Greet {name}."}], temperature=0
        )
        return answer.choices[0].message.content or ""

    def summary(self, text: str) -> Iterator[str]:
        """As it is written."""
        stream = self._client.chat.completions.create(
            model=MODEL,
            messages=[{"role": "system", "content": "Summarise."}, {"role": "user", "content": text}],
            stream=True,
            stream_options={"include_usage": True},
        )
        for chunk in stream:
            if chunk.choices and chunk.choices[0].delta.content:
                yield chunk.choices[0].delta.content

    def where_is(self, order: str) -> str:
        """The model asks for the order's status, and answers with it."""
        messages: list[Any] = [{"role": "user", "content": f"Where is order {order}?"}]
        while True:
            answer = self._client.chat.completions.create(model=MODEL, messages=messages, tools=TOOLS)
            message = answer.choices[0].message
            if not message.tool_calls:
                return message.content or ""
            messages.append(message.model_dump(exclude_none=True))
            for call in message.tool_calls:
                assert call.type == "function"
                asked = json.loads(call.function.arguments)["order"]
                messages.append({"role": "tool", "tool_call_id": call.id, "content": ORDERS.get(asked, "unknown")})

    def is_angry(self, text: str) -> bool:
        answer = self._client.chat.completions.create(
            model=MODEL,
            messages=[{"role": "user", "content": f"Is this angry? Answer in JSON. {text}"}],
            response_format={"type": "json_object"},
            seed=7,
        )
        return bool(json.loads(answer.choices[0].message.content or "{}")["angry"])

    def nearest(self, question: str, answers: list[str]) -> str:
        """The known answer that is nearest to a question."""
        asked = self._client.embeddings.create(model="text-embedding-3-small", input=question).data[0].embedding
        known = self._client.embeddings.create(model="text-embedding-3-small", input=answers, encoding_format="float")
        near = [sum(a * b for a, b in zip(asked, one.embedding, strict=True)) for one in known.data]
        return answers[near.index(max(near))]

    def complete(self, text: str) -> str:
        return (
            self._client.completions.create(model="gpt-3.5-turbo-instruct", prompt=text, max_tokens=5).choices[0].text
        )
