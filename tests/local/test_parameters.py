"""The tables of what is honoured are complete: every parameter of the wire stands in them, and nothing else."""

from collections.abc import Mapping

import msgspec
import pytest

from homeport.backends.local.parameters import TABLES, Parameter
from homeport.wire import audio, images
from homeport.wire.chat import CreateChatCompletionRequest
from homeport.wire.completions import CreateCompletionRequest
from homeport.wire.embeddings import CreateEmbeddingRequest
from homeport.wire.moderations import CreateModerationRequest


@pytest.mark.parametrize(
    ("request_", "table"),
    [
        (CreateChatCompletionRequest, "chat.completions"),
        (CreateCompletionRequest, "completions"),
        (CreateEmbeddingRequest, "embeddings"),
        (CreateModerationRequest, "moderations"),
        (audio.CreateTranscriptionRequest, "audio.transcriptions"),
        (audio.CreateTranslationRequest, "audio.translations"),
        (audio.CreateSpeechRequest, "audio.speech"),
        (images.CreateImageRequest, "images.generations"),
        (images.CreateImageEditRequest, "images.edits"),
        (images.CreateImageVariationRequest, "images.variations"),
    ],
)
def test_every_parameter_has_a_verdict(request_: type[msgspec.Struct], table: str) -> None:
    fields = {field.encode_name for field in msgspec.structs.fields(request_)}
    also = {"images"} if table == "images.edits" else set()  # in place of `image`, of an edit that is no form
    assert fields | also == set(TABLES[table])


@pytest.mark.parametrize("table", TABLES.values(), ids=TABLES)
def test_a_refusal_says_what_to_do(table: Mapping[str, Parameter]) -> None:
    for name, parameter in table.items():
        assert parameter.note.endswith("."), name
        assert parameter.verdict == "refused" or not parameter.harmless
        if parameter.verdict == "refused":
            assert any(word in parameter.note for word in ("Leave it out", "instead", "Offer", "Put")), name
