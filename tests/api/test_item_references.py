"""References to items: a short request is no way to make a long one."""

from typing import Any

import openai
import pytest

from homeport.control import items


def test_an_item_is_named_once(mine: openai.OpenAI) -> None:
    made = mine.conversations.create(items=[{"role": "user", "content": "One."}])
    (item,) = mine.conversations.items.list(made.id).data
    assert item.id is not None
    reference: Any = {"type": "item_reference", "id": item.id}
    with pytest.raises(openai.BadRequestError, match="Duplicate item") as refused:
        mine.conversations.create(items=[reference, reference])
    assert refused.value.param == "items[1].id"
    assert mine.conversations.items.list(mine.conversations.create(items=[reference]).id).data


def test_not_everything_is_named(mine: openai.OpenAI) -> None:
    every: Any = [{"type": "item_reference", "id": f"msg_{n}"} for n in range(items.MOST_REFERENCES + 1)]
    with pytest.raises(openai.BadRequestError) as refused:
        mine.responses.input_tokens.count(model="echo", input=every)
    assert refused.value.code == "array_above_max_length"
