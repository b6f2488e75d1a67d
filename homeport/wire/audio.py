"""Audio. Source: CreateTranscriptionRequest, CreateTranslationRequest, CreateSpeechRequest and what answers them.

The first two come as forms: what is checked here is the form's fields as JSON, with numbers and flags that may still be
texts. A form that was read is such an object with `file` beside the fields (backends/capabilities.py: Call.body).
"""

from typing import Annotated, Any, Literal

from msgspec import UNSET, Meta, Struct, UnsetType

MOST_INPUT_CHARACTERS = 4096


class _File(Struct):
    """What stands in a body for a file of its form."""

    filename: str | None
    bytes: int
    sha256: str


class CreateTranscriptionRequest(Struct, kw_only=True, omit_defaults=True):
    """model: asked for by whoever needs it, as a deployment's path has it, too. language: ISO 639-1.
    chunking_strategy: `auto`, or an object `{"type": "server_vad", ...}`.

    Fields that are not named here are kept, for whoever knows them (api/forms.py).
    """

    file: _File
    model: str | None = None
    language: str | None = None
    languages: list[str] | None = None
    keywords: list[str] | None = None
    prompt: str | None = None
    response_format: Literal["json", "text", "srt", "verbose_json", "vtt", "diarized_json"] | None = None
    temperature: Annotated[float, Meta(ge=0, le=1)] | None = None
    include: list[Literal["logprobs"]] | None = None
    timestamp_granularities: list[Literal["word", "segment"]] | None = None
    stream: bool | None = None
    chunking_strategy: str | dict[str, Any] | None = None
    known_speaker_names: Annotated[list[str], Meta(max_length=4)] | None = None
    known_speaker_references: Annotated[list[str], Meta(max_length=4)] | None = None


class VadConfig(Struct, forbid_unknown_fields=True, kw_only=True):
    """How a sound is cut where somebody wants it otherwise. The two of them in milliseconds."""

    type: Literal["server_vad"]
    threshold: Annotated[float, Meta(ge=0, le=1)] = 0.5
    prefix_padding_ms: Annotated[int, Meta(ge=0, le=30_000)] = 300
    silence_duration_ms: Annotated[int, Meta(ge=0, le=30_000)] = 200


class TranscriptionUsage(Struct, tag_field="type", tag="duration"):
    """seconds: of sound, each that has begun."""

    seconds: int


class TranscriptionLogprob(Struct):
    token: str
    logprob: float
    bytes: list[int]


class CreateTranscriptionResponseJson(Struct):
    """usage: of a translation there is none."""

    text: str
    logprobs: list[TranscriptionLogprob] | UnsetType = UNSET
    usage: TranscriptionUsage | UnsetType = UNSET


class TranscriptionWord(Struct):
    word: str
    start: float
    end: float


class TranscriptionSegment(Struct):
    """seek: where the window began that it was heard in, in hundredths of a second. tokens: of the model's own
    vocabulary."""

    id: int
    seek: int
    start: float
    end: float
    text: str
    tokens: list[int]
    temperature: float
    avg_logprob: float
    compression_ratio: float
    no_speech_prob: float


class CreateTranscriptionResponseVerboseJson(Struct):
    """Of a translation, too, whose `language` is English always and which has neither words nor usage."""

    task: Literal["transcribe", "translate"]
    language: str
    duration: float
    text: str
    words: list[TranscriptionWord] | UnsetType = UNSET
    segments: list[TranscriptionSegment] | UnsetType = UNSET
    usage: TranscriptionUsage | UnsetType = UNSET


class TranscriptTextDeltaEvent(Struct, tag_field="type", tag="transcript.text.delta"):
    delta: str
    logprobs: list[TranscriptionLogprob] | UnsetType = UNSET


class TranscriptTextDoneEvent(Struct, tag_field="type", tag="transcript.text.done"):
    text: str
    logprobs: list[TranscriptionLogprob] | UnsetType = UNSET
    usage: TranscriptionUsage | UnsetType = UNSET


class CreateTranslationRequest(Struct, kw_only=True, omit_defaults=True):
    """Into English."""

    file: _File
    model: str | None = None
    prompt: str | None = None
    response_format: Literal["json", "text", "srt", "verbose_json", "vtt"] | None = None
    temperature: Annotated[float, Meta(ge=0, le=1)] | None = None


class VoiceId(Struct, forbid_unknown_fields=True):
    id: str


class CreateSpeechRequest(Struct, forbid_unknown_fields=True, kw_only=True):
    model: str
    input: Annotated[str, Meta(max_length=MOST_INPUT_CHARACTERS)]
    voice: str | VoiceId
    instructions: Annotated[str, Meta(max_length=4096)] | None = None
    response_format: Literal["mp3", "opus", "aac", "flac", "wav", "pcm"] | None = None
    speed: Annotated[float, Meta(ge=0.25, le=4)] | None = None
    stream_format: Literal["audio", "sse"] | None = None


class SpeechAudioDeltaEvent(Struct, tag_field="type", tag="speech.audio.delta"):
    """audio: base64."""

    audio: str


class SpeechUsage(Struct):
    input_tokens: int
    output_tokens: int
    total_tokens: int


class SpeechAudioDoneEvent(Struct, tag_field="type", tag="speech.audio.done"):
    usage: SpeechUsage
