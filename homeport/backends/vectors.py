"""The seam below OpenAI's embedding objects: an engine that makes vectors of texts.

An engine (onnx, llama_cpp, echo) knows texts and its own tokens, and nothing of requests: those are read and answered
once, for all engines, in `local/embeddings.py`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from homeport.backends.text import Occupancy

#: A text, or tokens of the engine's own vocabulary.
Input = str | Sequence[int]


@dataclass(frozen=True, slots=True)
class VectorCard:
    """What an engine says of its model. width: numbers of a vector. context_length: tokens of an input, those that the
    model puts around it included. vocabulary: its tokens are 0 to below it. shortens: the first numbers of a vector,
    made a unit again, are a good vector too (`dimensions`)."""

    width: int
    context_length: int
    vocabulary: int
    shortens: bool = False


class Vector(NamedTuple):
    """data: float32, little-endian, of length 1. tokens: of its input, those around it included."""

    data: bytes
    tokens: int


class VectorEngine(Protocol):
    name: str

    @property
    def card(self) -> VectorCard:
        """Known once it has been started."""
        ...

    async def start(self) -> None: ...

    async def close(self) -> None: ...

    def occupancy(self) -> Sequence[Occupancy]:
        """Of it, where it has places; never waits."""
        ...

    async def embed(self, inputs: Sequence[Input], *, batch: bool = False) -> list[Vector]:
        """One vector an input, in their order. Raises InputTooLong, Unavailable (503): too many wait. Cancelling it
        takes back what has not begun. batch: for a line of a batch, which waits behind everybody else (lines.py),
        however many they are."""
        ...


class InputTooLong(Exception):
    """at: which of the inputs. tokens: how many it has."""

    def __init__(self, at: int, tokens: int) -> None:
        super().__init__(f"input {at} has {tokens} tokens")
        self.at = at
        self.tokens = tokens
