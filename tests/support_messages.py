"""What a model is fine-tuned for in tests and in the bench: messages to a shop, each answered by a line of JSON that
names the intent and the product. The base model cannot do it. Held-out messages are of sentences that training does not
have; products and intents are the same."""

import json
import random
from collections.abc import Sequence
from typing import Any, NamedTuple

INSTRUCTION = "Answer with JSON: the intent and the product."
PRODUCTS = ("lamp", "kettle", "backpack", "keyboard", "jacket", "teapot", "bicycle", "headphones")
#: Intent -> sentences to learn from, and those that are held out.
SENTENCES = {
    "refund": (
        (
            "I want my money back for the {}.",
            "Please refund the {}, I do not want it.",
            "Can I get a refund for my {}?",
        ),
        ("The {} is not for me, give me a refund.", "I would like my money back, the {} was a mistake."),
    ),
    "shipping": (
        ("Where is my {}? It has not arrived.", "When will the {} be delivered?", "My {} has not been shipped yet."),
        ("Has the {} been shipped?", "The {} has not arrived, when is it delivered?"),
    ),
    "broken": (
        ("The {} is broken.", "My {} stopped working after a day.", "The {} came with a crack, it does not work."),
        ("My new {} does not work, it is broken.", "After two days the {} stopped working."),
    ),
    "stock": (
        ("Do you have the {} in stock?", "Is the {} available?", "When is the {} available again?"),
        ("Is the {} still in stock?", "Do you still have the {} available?"),
    ),
}


class Message(NamedTuple):
    text: str
    intent: str
    product: str

    @property
    def answer(self) -> str:
        return json.dumps({"intent": self.intent, "product": self.product})

    def asked(self) -> list[dict[str, str]]:
        """Its chat, up to the answer."""
        return [{"role": "system", "content": INSTRUCTION}, {"role": "user", "content": self.text}]

    def example(self) -> dict[str, Any]:
        """A line of a training file."""
        return {"messages": [*self.asked(), {"role": "assistant", "content": self.answer}]}


def to_learn(count: int, seed: int = 1) -> list[Message]:
    return _drawn(0, count, seed)


def held_out(count: int, seed: int = 2) -> list[Message]:
    return _drawn(1, count, seed)


def jsonl(messages: Sequence[Message]) -> bytes:
    """A training file."""
    return b"".join(json.dumps(one.example()).encode() + b"\n" for one in messages)


def told(answer: str) -> tuple[str, str] | None:
    """Intent and product of an answer; None: it is no such JSON."""
    try:
        found = json.loads(answer)
    except ValueError:
        return None
    if not isinstance(found, dict) or set(found) != {"intent", "product"}:
        return None
    return str(found["intent"]), str(found["product"])


def _drawn(which: int, count: int, seed: int) -> list[Message]:
    every = [
        Message(sentence.format(product), intent, product)
        for intent, sentences in SENTENCES.items()
        for sentence in sentences[which]
        for product in PRODUCTS
    ]
    return random.Random(seed).sample(every, count)
