"""The tables of what is honoured are complete: every parameter of the wire stands in them, and nothing else."""

from collections.abc import Mapping

import msgspec
import pytest

from homeport.backends.local.parameters import CHAT, COMPLETIONS, EMBEDDINGS, MODERATIONS, Parameter
from homeport.wire.chat import CreateChatCompletionRequest
from homeport.wire.completions import CreateCompletionRequest
from homeport.wire.embeddings import CreateEmbeddingRequest
from homeport.wire.moderations import CreateModerationRequest


@pytest.mark.parametrize(
    ("request_", "table"),
    [
        (CreateChatCompletionRequest, CHAT),
        (CreateCompletionRequest, COMPLETIONS),
        (CreateEmbeddingRequest, EMBEDDINGS),
        (CreateModerationRequest, MODERATIONS),
    ],
)
def test_every_parameter_has_a_verdict(request_: type[msgspec.Struct], table: Mapping[str, Parameter]) -> None:
    assert {field.encode_name for field in msgspec.structs.fields(request_)} == set(table)


@pytest.mark.parametrize("table", [CHAT, COMPLETIONS, EMBEDDINGS, MODERATIONS])
def test_a_refusal_says_what_to_do(table: Mapping[str, Parameter]) -> None:
    for name, parameter in table.items():
        assert parameter.note.endswith("."), name
        assert parameter.verdict == "refused" or not parameter.harmless
        if parameter.verdict == "refused":
            assert any(word in parameter.note for word in ("Leave it out", "instead", "Offer", "Put")), name
