"""The inference endpoints, as data. An endpoint that stands here passes the straight line; there is no other way in."""

from collections.abc import Awaitable, Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

import msgspec

from homeport.backends.capabilities import Answer, Attached, Call, Usage
from homeport.wire import audio, images
from homeport.wire.envelope import CHARACTERS_PER_TOKEN
from homeport.wire.moderations import DEFAULT_MODEL

#: The most tokens that an image part of a message is counted as (gpt-4o-mini, high detail).
TOKENS_OF_AN_IMAGE = 50_000


@dataclass(frozen=True, slots=True)
class FormShape:
    """What comes as a form (api/forms.py). fields: what its fields are checked by; others are kept. files: names of
    their parts, the first of which must be there. several: of which there may be so many. lists: fields that are
    lists. most_fields: their items count; largest_fields: bytes of all together. references: it may come as JSON, too,
    which names its pictures (control/image_references.py)."""

    fields: type[msgspec.Struct]
    files: tuple[str, ...]
    lists: Collection[str] = ()
    several: Mapping[str, int] = field(default_factory=dict)
    most_fields: int = 16
    largest_fields: int = 16 * 2**10
    references: bool = False


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One path.

    capability: the backend's method that answers it. azure: its path below a deployment, None if none.
    operation: OpenTelemetry's word for what it does. page: of OpenAI's usage, on which it is counted. scope: what a key
    needs to be allowed to call it. writes: a model writes its answers, which have a length therefore and may be
    streamed. tokens: what the limits charge at admission. most_prompt, most_answer: tokens that the prompt and the
    answer cannot exceed, for budgets; an answer of None is as long as the model lets it be. batch: OpenAI takes it in
    batches, too. default_model: of requests that name none. form: the request is no JSON but a form. closed: its
    streams of events end with `[DONE]`; always: its answer is a stream, asked for or not. media: what it takes at most
    beside tokens, known before it is answered; of what nobody has counted, `usual` is charged; and hears: its files
    count as megabytes of audio. draws: its answers are pictures.
    """

    name: str
    path: str
    azure: str | None
    capability: str
    operation: str
    page: str
    scope: str
    default_max_tokens: int
    tokens: Callable[["Endpoint", Call], int]
    most_prompt: Callable[[Call], int]
    most_answer: Callable[[Call], int | None]
    writes: bool = True
    batch: bool = False
    form: FormShape | None = None
    closed: bool = True
    always: bool = False
    media: Callable[[Call], Usage] | None = None
    usual: Callable[[Call], Usage] | None = None
    hears: bool = False
    draws: bool = False
    default_model: str | None = None

    def answer(self, backend: Any, call: Call) -> Awaitable[Answer]:
        answer: Awaitable[Answer] = getattr(backend, self.capability)(call)
        return answer


def tokens_at_admission(endpoint: Endpoint, call: Call) -> int:
    """`max(max_tokens, estimate from the characters)`, as OpenAI charges a request before it is run."""
    return max(call.max_tokens or endpoint.default_max_tokens, len(call.body) // CHARACTERS_PER_TOKEN)


def tokens_of_input(_: "Endpoint", call: Call) -> int:
    """Of an endpoint that reads and does not write."""
    return max(1, len(call.body) // CHARACTERS_PER_TOKEN)


def most_prompt_tokens(call: Call) -> int:
    """A token is a byte at least, and what OpenAI adds to a message is less than its JSON has around it."""
    return len(call.body) + TOKENS_OF_AN_IMAGE * call.body.count(b'"image_url"')


def most_chat_tokens(call: Call) -> int | None:
    return call.max_tokens


def most_completion_tokens(call: Call) -> int:
    """16 tokens by default; every prompt of a list is answered."""
    each = 16 * call.choices if call.max_tokens is None else call.max_tokens
    return each * _prompts(call.fields.get("prompt"))


def _prompts(raw: msgspec.Raw | None) -> int:
    prompt = None if raw is None else msgspec.json.decode(raw)
    if not isinstance(prompt, list) or not prompt or isinstance(prompt[0], int):
        return 1
    return len(prompt)


def most_rerank_tokens(call: Call) -> int:
    """The query is read with every document."""
    query, documents = call.fields.get("query"), call.fields.get("documents")
    try:
        count = len(msgspec.json.decode(documents, type=list[msgspec.Raw])) if documents is not None else 0
    except msgspec.DecodeError:
        count = 0  # its upstream will say so
    return len(call.body) + count * len(query or b"")


CHAT = Endpoint(
    "chat.completions",
    "/v1/chat/completions",
    "/chat/completions",
    capability="chat",
    operation="chat",
    page="completions",
    scope="model.request",
    default_max_tokens=16,
    tokens=tokens_at_admission,
    most_prompt=most_prompt_tokens,
    most_answer=most_chat_tokens,
    batch=True,
)
COMPLETIONS = Endpoint(
    "completions",
    "/v1/completions",
    "/completions",
    capability="complete",
    operation="text_completion",
    page="completions",
    scope="model.request",
    default_max_tokens=16,
    tokens=tokens_at_admission,
    most_prompt=most_prompt_tokens,
    most_answer=most_completion_tokens,
    batch=True,
)
EMBEDDINGS = Endpoint(
    "embeddings",
    "/v1/embeddings",
    "/embeddings",
    capability="embed",
    operation="embeddings",
    page="embeddings",
    scope="model.request",
    default_max_tokens=0,
    tokens=tokens_of_input,
    most_prompt=lambda call: len(call.body),
    most_answer=lambda _: 0,
    writes=False,
    batch=True,
)
RERANK = Endpoint(
    "rerank",
    "/v1/rerank",
    None,
    capability="rerank",
    operation="rerank",
    page="rerank",
    scope="model.request",
    default_max_tokens=0,
    tokens=tokens_of_input,
    most_prompt=most_rerank_tokens,
    most_answer=lambda _: 0,
    writes=False,
)


#: Bits of a second of the most thrifty codec of speech that is met (Opus). Silence may take fewer, which is seen where
#: files are measured (api/forms.py), and only there.
_FEWEST_BITS = 6_000
#: Of files of any kind, for what is neither measured nor told by whoever heard it.
_USUAL_BITS = 64_000
#: Tokens of a second that is heard, and of what is said in it, at most: OpenAI's hear 10 to 17.
_HEARD_TOKENS, _SAID_TOKENS = 20, 10
#: Audio tokens of a character that is spoken, at most: 20 are a second, in which a dozen are.
_SPOKEN_TOKENS = 8


def _longest_audio(call: Call) -> Usage:
    """Of its files. Half a second more, as it is charged by the second to the nearest; where they were not measured by
    their bytes."""
    return Usage(0, 0, milliseconds=sum(_milliseconds(file, _FEWEST_BITS) + 500 for file in call.attached))


def _usual_audio(call: Call) -> Usage:
    return Usage(0, 0, milliseconds=sum(_milliseconds(file, _USUAL_BITS) for file in call.attached))


def _milliseconds(file: Attached, bits: int) -> int:
    """bits: of a second, where nobody has measured it."""
    return file.milliseconds if file.milliseconds is not None else file.bytes * 8_000 // bits


def _seconds(call: Call) -> int:
    return -(-_longest_audio(call).milliseconds // 1000)


def _most_heard(call: Call) -> int:
    return _seconds(call) * _HEARD_TOKENS + len(call.body)


def _most_said(call: Call) -> int:
    return _seconds(call) * _SAID_TOKENS


def _spoken(call: Call) -> Usage:
    """Characters of what is to be spoken; none where that is no text, which whoever speaks refuses."""
    try:
        return Usage(0, 0, characters=len(msgspec.json.decode(call.fields.get("input", b'""'), type=str)))
    except msgspec.DecodeError:
        return Usage(0, 0)


TRANSCRIPTIONS = Endpoint(
    "audio.transcriptions",
    "/v1/audio/transcriptions",
    "/audio/transcriptions",
    capability="transcribe",
    operation="transcription",
    page="audio_transcriptions",
    scope="model.request",
    default_max_tokens=0,
    tokens=lambda _, __: 0,
    most_prompt=_most_heard,
    most_answer=_most_said,
    form=FormShape(
        audio.CreateTranscriptionRequest,
        ("file",),
        lists=(
            "include",
            "keywords",
            "known_speaker_names",
            "known_speaker_references",
            "languages",
            "timestamp_granularities",
        ),
        most_fields=128,
        largest_fields=4 * 2**20,  # voices of four speakers, in base64
    ),
    closed=False,
    media=_longest_audio,
    usual=_usual_audio,
    hears=True,
)
TRANSLATIONS = Endpoint(
    "audio.translations",
    "/v1/audio/translations",
    "/audio/translations",
    capability="translate",
    operation="translation",
    page="audio_transcriptions",
    scope="model.request",
    default_max_tokens=0,
    tokens=lambda _, __: 0,
    most_prompt=_most_heard,
    most_answer=_most_said,
    writes=False,
    form=FormShape(audio.CreateTranslationRequest, ("file",)),
    media=_longest_audio,
    usual=_usual_audio,
    hears=True,
)
SPEECH = Endpoint(
    "audio.speech",
    "/v1/audio/speech",
    "/audio/speech",
    capability="speak",
    operation="speech",
    page="audio_speeches",
    scope="model.request",
    default_max_tokens=0,
    tokens=lambda _, __: 0,
    most_prompt=lambda call: len(call.body),
    most_answer=lambda call: _spoken(call).characters * _SPOKEN_TOKENS,
    writes=False,
    closed=False,
    always=True,
    media=_spoken,
    usual=_spoken,
)

MODERATIONS = Endpoint(
    "moderations",
    "/v1/moderations",
    None,
    capability="moderate",
    operation="moderation",
    page="moderations",
    scope="model.request",
    default_max_tokens=0,
    tokens=tokens_of_input,
    most_prompt=most_prompt_tokens,
    most_answer=lambda _: 0,
    writes=False,
    batch=True,
    default_model=DEFAULT_MODEL,
)


def _most_pictures(call: Call) -> Usage:
    return Usage(0, 0, images=images.count(call.fields), size=images.priced_size(call.fields))


def _images(
    name: str, capability: str, operation: str, form: FormShape | None, *, writes: bool, batch: bool
) -> Endpoint:
    return Endpoint(
        f"images.{name}",
        f"/v1/images/{name}",
        f"/images/{name}",
        capability=capability,
        operation=operation,
        page="images",
        scope="model.request",
        default_max_tokens=0,
        tokens=lambda _, __: 0,
        most_prompt=most_image_prompt_tokens,
        most_answer=most_image_tokens,
        writes=writes,
        batch=batch,
        form=form,
        closed=False,
        media=_most_pictures,
        usual=_most_pictures,
        draws=True,
        default_model=images.DEFAULT_MODEL,
    )


#: Tokens of a picture that is given, and of one that is made, at most. Source: OpenAI's tables of both (high quality
#: and fidelity, 1024x1536); three pictures in the making are a hundred tokens each.
_TOKENS_OF_AN_INPUT, _TOKENS_OF_A_PICTURE = 6_240, 6_540


def most_image_prompt_tokens(call: Call) -> int:
    return len(call.body) + _TOKENS_OF_AN_INPUT * len(call.attached)


def most_image_tokens(call: Call) -> int:
    return _TOKENS_OF_A_PICTURE * _most_pictures(call).images


GENERATIONS = _images("generations", "draw", "image_generation", None, writes=True, batch=True)
EDITS = _images(
    "edits",
    "edit_image",
    "image_edit",
    FormShape(
        images.CreateImageEditRequest,
        ("image", "mask"),
        several={"image": images.MOST_INPUTS},
        most_fields=32,
        largest_fields=256 * 2**10,  # a prompt of 32,000 characters
        references=True,
    ),
    writes=True,
    batch=True,
)
VARIATIONS = _images(
    "variations",
    "vary_image",
    "image_variation",
    FormShape(images.CreateImageVariationRequest, ("image",)),
    writes=False,
    batch=False,
)

ENDPOINTS = (
    CHAT,
    COMPLETIONS,
    EMBEDDINGS,
    MODERATIONS,
    RERANK,
    TRANSCRIPTIONS,
    TRANSLATIONS,
    SPEECH,
    GENERATIONS,
    EDITS,
    VARIATIONS,
)

#: It is not in the table: no backend answers it, but a loop (api/response_line.py), each of whose turns passes the
#: straight line as a chat completion.
RESPONSES = Endpoint(
    "responses",
    "/v1/responses",
    None,
    capability="chat",
    operation="responses",
    page="completions",
    scope="responses.write",
    default_max_tokens=0,
    tokens=tokens_at_admission,
    most_prompt=lambda _: 0,
    most_answer=lambda _: 0,
    batch=True,
    closed=False,
)
#: Those that batches may be of.
BATCHED = tuple(endpoint for endpoint in (*ENDPOINTS, RESPONSES) if endpoint.batch)

#: What a key may be restricted to: what the endpoints need, to see which models there are, and what projects own;
#: `delete` is OpenAI's word for deleting fine-tuned models, `usage.read` ours for what a project has asked, and how
#: full its limits are.
SCOPES = frozenset(
    {"all", "model.read", "usage.read", "files.read", "files.write", "batch.read", "batch.write"}
    | {"chat.completions.read", "chat.completions.write"}
    | {"vector_stores.read", "vector_stores.write"}
    | {"fine_tuning.jobs.read", "fine_tuning.jobs.write", "delete"}
    | {"assistants.read", "assistants.write", "threads.read", "threads.write", "responses.read", "responses.write"}
    | {endpoint.scope for endpoint in ENDPOINTS}
)
