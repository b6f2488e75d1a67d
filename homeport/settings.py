"""Every setting, once: its name, type, default and meaning. `homeport.toml` first, environment variables on top.

A setting of the file `[server] port = 8000` is `HOMEPORT_SERVER_PORT` in the environment; `[upstreams.openai] api_key`
is `HOMEPORT_UPSTREAMS_OPENAI_API_KEY`. Unknown names are refused with the nearest right one. docs/configuration.md is
made from this file (`make docs`), and a test compares the two.
"""

import difflib
import os
import tomllib
from collections.abc import Iterator, Mapping
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple, get_args, get_origin, get_type_hints

import msgspec
from msgspec import Meta

from homeport.errors import SettingsError

DEFAULT_MODEL = "smollm2-135m-instruct"
DEFAULT_EMBEDDING_MODEL = "all-minilm-l6-v2"
DEFAULT_HEARING_MODEL = "whisper-base"
DEFAULT_SPEAKING_MODEL = "hibari"
DEFAULT_HD_SPEAKING_MODEL = "kokoro"
DEFAULT_DRAWING_MODEL = "scene-1"
DEFAULT_BASE_URL = "https://api.openai.com/v1"
#: Names of OpenAI's documentation that the local model answers to, unless a model, an alias or an upstream claims them.
DEFAULT_ALIASES = (
    "gpt-4",
    "gpt-4-32k",
    "gpt-4-turbo",
    "gpt-3.5-turbo",
    "gpt-3.5-turbo-16k",
    "gpt-4o",
    "gpt-4o-mini",
    "gpt-3.5-turbo-instruct",
)
#: The same of models that make vectors.
DEFAULT_EMBEDDING_ALIASES = ("text-embedding-ada-002", "text-embedding-3-small", "text-embedding-3-large")
#: And of models that hear.
DEFAULT_HEARING_ALIASES = (
    "whisper-1",
    "whisper-large-v2",
    "gpt-4o-transcribe",
    "gpt-4o-mini-transcribe",
    "gpt-4o-mini-transcribe-2025-03-20",
    "gpt-4o-mini-transcribe-2025-12-15",
    "gpt-transcribe",
)
#: And of models that speak: of the first there is, and of the last, which is the better one where there are two.
DEFAULT_SPEAKING_ALIASES = (
    "tts-1",
    "tts-1-1106",
    "gpt-4o-mini-tts",
    "gpt-4o-mini-tts-2025-03-20",
    "gpt-4o-mini-tts-2025-12-15",
)
DEFAULT_HD_SPEAKING_ALIASES = ("tts-1-hd", "tts-1-hd-1106")
#: The same of models that draw.
DEFAULT_DRAWING_ALIASES = (
    "dall-e-2",
    "dall-e-3",
    "gpt-image-1",
    "gpt-image-1-mini",
    "gpt-image-1.5",
    "gpt-image-2",
    "gpt-image-2-2026-04-21",
    "chatgpt-image-latest",
)
#: The same of models that moderate.
DEFAULT_MODERATION_ALIASES = (
    "omni-moderation-latest",
    "omni-moderation-2024-09-26",
    "text-moderation-latest",
    "text-moderation-stable",
)
PREFIX = "HOMEPORT_"
#: Variables that are not settings of the server: preset keys, and what the test-suite reads.
OTHER_VARIABLES = ("HOMEPORT_API_KEY", "HOMEPORT_ADMIN_KEY", "HOMEPORT_CONFIG", "HOMEPORT_OPENAPI")
TEST_PREFIX = "HOMEPORT_TEST_"

Positive = Annotated[int, Meta(ge=1)]
Seconds = Annotated[float, Meta(gt=0)]
Limit = Annotated[int, Meta(ge=0)]
Limited = Annotated[float, Meta(ge=0)]
Share = Annotated[float, Meta(gt=0, le=1)]


def _doc(text: str) -> Any:
    return Meta(description=text)


class _Section(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One table of homeport.toml."""


class Server(_Section, frozen=True):
    """Where the server listens and what it takes in."""

    host: Annotated[str, _doc("Address to listen on. Anything but loopback needs a key, and TLS.")] = "127.0.0.1"
    port: Annotated[int, Meta(ge=0, le=65535, description="Port; 0 takes a free one and prints it.")] = 8000
    workers: Annotated[Positive, _doc("Processes on the port. More than one need `redis_url`: docs/workers.md.")] = 1
    tls_cert: Annotated[
        str | None, _doc("PEM file, the certificate and the chain above it: the port speaks HTTPS. docs/tls.md.")
    ] = None
    tls_key: Annotated[
        str | None, _doc("PEM file, its private key. Both are read again when they change, without a restart.")
    ] = None
    behind_tls_proxy: Annotated[
        bool, _doc("A proxy does TLS and nobody else reaches this port: plain HTTP may listen on any address.")
    ] = False
    data: Annotated[str, _doc("Folder for keys, models and records. Made with mode 700.")] = "~/.homeport"
    public_url: Annotated[
        str | None,
        _doc("`https://ai.example.com`: as clients reach the server, for addresses in answers. By default their Host."),
    ] = None
    organization: Annotated[str, _doc("Sent as `openai-organization` and named in rate-limit messages.")] = "homeport"
    max_body_mb: Annotated[Positive, _doc("Largest JSON body in MiB; larger ones get 413.")] = 32
    notice_seconds: Annotated[
        Limited,
        _doc(
            "After SIGTERM `/readyz` says 503 and everything goes on this long, so that load balancers look elsewhere."
        ),
    ] = 0.0
    drain_seconds: Annotated[Seconds, _doc("After that, requests in flight may run this long.")] = 30.0
    keep_alive_seconds: Annotated[Seconds, _doc("An idle client connection is closed after this.")] = 75.0
    max_connections: Annotated[Positive, _doc("Client connections at once; the next one gets 503.")] = 10_000
    keys_max_age_seconds: Annotated[
        float, Meta(ge=1, description="While the database is away, known keys and limits hold this long; then 503.")
    ] = 3600.0
    log_level: Annotated[Literal["debug", "info", "warning", "error"], _doc("What goes to stderr.")] = "info"
    log_format: Annotated[Literal["text", "json"], _doc("Its lines: for people, or for machines.")] = "text"
    access_log: Annotated[bool, _doc("A line for each request, too: docs/telemetry.md.")] = False


class Model(_Section, frozen=True):
    """A model that this machine runs. The table's name is the model's name: `[models.NAME]`."""

    engine: Annotated[
        Literal[
            "auto",
            "llama_cpp",
            "openvino",
            "onnx",
            "whisper",
            "moonshine",
            "hibari",
            "kokoro",
            "scene",
            "diffusion",
            "echo",
        ],
        _doc(
            "`auto`: for a GGUF OpenVINO where installed and able to honour the request, llama.cpp otherwise, and "
            "always for one that makes embeddings; for an ONNX file, which makes them, too, `onnx`; for a `model.bin` "
            "of CTranslate2, which hears, `whisper`; for a `model_index.json`, `diffusion`, which draws. `hibari` and "
            "`kokoro` speak; the weights of `hibari` are in its library."
        ),
    ] = "auto"
    path: Annotated[
        str | None,
        _doc(
            "A GGUF file, an ONNX file with its `vocab.txt` beside it, or the `model.bin` or `encoder_model.onnx` of a "
            "model that hears, with its other files beside it, or an ONNX file of `kokoro`, its voices beside it, or "
            "the folder of a diffusion model in ONNX. Without it: what `homeport pull NAME` brought."
        ),
    ] = None
    aliases: Annotated[tuple[str, ...], _doc("Other names that it answers to.")] = ()
    context_length: Annotated[Positive | None, _doc("Tokens; the model's own by default.")] = None
    parallel: Annotated[
        Positive | None,
        _doc(
            "Requests generated at once, in one batch; for embeddings, inputs; for what is heard or spoken, files "
            "or texts that take turns. 16 by default, of `echo` any number; `diffusion` draws one picture at a time."
        ),
    ] = None
    queue: Annotated[Positive, _doc("Requests that may wait for a place; the next one gets 503.")] = 256
    threads: Annotated[Positive | None, _doc("CPU threads; one less than the cores by default.")] = None
    matryoshka: Annotated[
        bool, _doc("For embeddings: the model was trained so that its vectors may be shortened (`dimensions`).")
    ] = False
    guidance: Annotated[
        Annotated[float, Meta(ge=0, le=50)] | None,
        _doc(
            "`diffusion` only: how closely pictures follow their prompt. By default 7.5, 5 of SDXL; 1, which takes "
            "half the time, is what distilled models (Turbo, LCM) were made for."
        ),
    ] = None
    steps: Annotated[
        Annotated[int, Meta(ge=1, le=500)] | None,
        _doc("`diffusion` only: steps of medium quality, low has 0.6 of them, high 1.6. By default 25, 4 of LCM."),
    ] = None
    delay: Annotated[float, Meta(ge=0, description="`echo` only: seconds between words.")] = 0.0


class Upstream(_Section, frozen=True):
    """A server that answers for us: `[upstreams.NAME]`."""

    kind: Annotated[Literal["openai", "azure"], _doc("`openai` is anything OpenAI-compatible.")] = "openai"
    base_url: Annotated[
        str,
        _doc(
            "Up to and with `/v1`; for azure the resource, `https://NAME.openai.azure.com`. A Unix socket: "
            "`http+unix://%2Frun%2Fvllm.sock/v1`."
        ),
    ] = DEFAULT_BASE_URL
    base_urls: Annotated[
        tuple[str, ...], _doc("In its place, several that answer alike, used as one: docs/upstreams.md.")
    ] = ()
    api_key: Annotated[str | None, _doc("Its key. Better in the environment than in the file.")] = None
    api_keys: Annotated[
        tuple[str, ...], _doc("More of them, used as one: the one with the most room; with `base_urls` one for each.")
    ] = ()
    bearer_token: Annotated[str | None, _doc("azure: an Entra token instead of a key.")] = None
    api_version: Annotated[str, _doc("azure: the `api-version` that is asked for.")] = "2024-10-21"
    organization: Annotated[str | None, _doc("Sent as `OpenAI-Organization`.")] = None
    project: Annotated[str | None, _doc("Sent as `OpenAI-Project`.")] = None
    models: Annotated[
        tuple[str, ...], _doc("Names that it answers to (azure: deployments). `*`: every name nobody else claims.")
    ] = ("*",)
    embedding_inputs: Annotated[
        Positive, _doc("Inputs that it takes in one embeddings request; longer lists are split, and joined again.")
    ] = 2048
    embedding_tokens: Annotated[
        Positive, _doc("Tokens that it takes in one embeddings request, reckoned as 2 bytes of text each.")
    ] = 300_000
    usage_in_streams: Annotated[
        bool, _doc("Ask for token counts in streams. False for servers that refuse `stream_options`.")
    ] = True
    connections: Annotated[
        Positive, _doc("Connections to an address at once, each with one request: the most that is in flight.")
    ] = 256
    queue: Annotated[
        Limit, _doc("Requests that may wait for a connection, and for a rate limit; the next one gets 503, or 429.")
    ] = 1024
    queue_seconds: Annotated[Seconds, _doc("A request waits this long for a connection.")] = 10.0
    wait_seconds: Annotated[
        Limited,
        _doc("The longest wait that the upstream may impose: `Retry-After`, or until its rate limit has room."),
    ] = 10.0
    retries: Annotated[
        Limit,
        _doc("Times it is asked again before the first byte: no connection, 408, 409, 429, 5xx; docs/upstreams.md."),
    ] = 2
    retry_unanswered: Annotated[
        bool, _doc("Also when a request was sent and nothing came back. It may then be done, and charged, twice.")
    ] = False
    retry_within_seconds: Annotated[Seconds, _doc("Not later than this after the request came.")] = 60.0
    failures: Annotated[
        Limit, _doc("In a row, after which it is left alone for a moment (503 at once). 0: it is always asked.")
    ] = 5
    rest_seconds: Annotated[
        Seconds, _doc("The longest that a failing address, a refused key or a used-up limit is left alone.")
    ] = 60.0
    connect_seconds: Annotated[Seconds, _doc("Until connected.")] = 10.0
    first_byte_seconds: Annotated[Seconds, _doc("From the request to the first byte of the answer.")] = 300.0
    idle_seconds: Annotated[Seconds, _doc("Between two pieces of an answer.")] = 60.0
    total_seconds: Annotated[Seconds, _doc("For the whole answer.")] = 900.0
    ca_file: Annotated[str | None, _doc("PEM file with the authorities to trust instead of the system's.")] = None
    inline_images: Annotated[
        bool, _doc("Fetch the images that a chat request gives by URL, and send them in it: `[fetch]`.")
    ] = False


class Fetch(_Section, frozen=True):
    """How URLs that users give are fetched, where Homeport does so itself: docs/security.md."""

    allow: Annotated[
        tuple[str, ...],
        _doc("Beside public addresses on ports 80 and 443: `10.1.0.0/16`, `images.internal`, `10.1.0.5:9000`, ..."),
    ] = ()
    max_mb: Annotated[Positive, _doc("Largest image in MiB.")] = 20
    max_total_mb: Annotated[Positive, _doc("All images of one request together, in MiB.")] = 50
    seconds: Annotated[Seconds, _doc("For one image, with all redirects.")] = 10.0
    ca_file: Annotated[str | None, _doc("PEM file with the authorities to trust instead of the system's.")] = None


class RouteTarget(_Section, frozen=True):
    """One of the targets of a route."""

    upstream: Annotated[str | None, _doc("An upstream of the settings. Without it: whoever `model` leads to.")] = None
    model: Annotated[str | None, _doc("Its name for it (azure: the deployment); the route's own by default.")] = None
    weight: Annotated[
        float,
        Meta(ge=0, le=1e9, description="Its share of the requests. 0: it stands in for others that fail, in order."),
    ] = 0.0


class Route(_Section, frozen=True):
    """A name with several targets: `[routes.NAME]`."""

    targets: Annotated[
        tuple[RouteTarget, ...],
        _doc(
            "`{ upstream, model, weight }` each. One is picked by its weight; when it fails before its first byte, the "
            "others follow in this order, those without a weight last."
        ),
    ]


class Limits(_Section, frozen=True):
    """How the limits of the tiers are kept."""

    tier: Annotated[
        str, _doc("Of projects that have none of their own: `home`, `trial`, `1` to `5`, or one of `[tiers]`.")
    ] = "home"
    graduate: Annotated[
        bool, _doc("Projects without a tier of their own rise from `trial` by what was spent, as at OpenAI.")
    ] = False
    strict: Annotated[bool, _doc("True: tokens that were reserved and not used are not given back.")] = False
    without_redis: Annotated[
        Literal["refuse", "share"],
        _doc("While Redis is away: answer 503, or count here against this replica's share of the limits."),
    ] = "refuse"


class Tier(_Section, frozen=True):
    """What a tier allows for a model family, `[tiers.NAME.FAMILY]`; `default` is every other name. 0: no limit."""

    max_requests_per_1_minute: Annotated[Limit | None, _doc("RPM.")] = None
    max_requests_per_1_day: Annotated[Limit | None, _doc("RPD.")] = None
    max_tokens_per_1_minute: Annotated[Limit | None, _doc("TPM, prompt and answer together.")] = None
    max_tokens_per_1_day: Annotated[Limit | None, _doc("TPD.")] = None
    max_images_per_1_minute: Annotated[Limit | None, _doc("IPM.")] = None
    max_audio_megabytes_per_1_minute: Annotated[Limit | None, _doc("Audio that is sent.")] = None
    batch_1_day_max_input_tokens: Annotated[Limit | None, _doc("Tokens in batches that wait.")] = None
    max_concurrent_requests: Annotated[Limit | None, _doc("Requests at once.")] = None


class Semantic(_Section, frozen=True):
    """Answers to questions that only mean the same, where the cache is used: docs/cache.md."""

    enabled: Annotated[bool, _doc("Off unless asked for: what means the same to a model need not to you.")] = False
    model: Annotated[str | None, _doc("A model of this machine that makes the vectors. Without it: the first.")] = None
    threshold: Annotated[float, Meta(gt=0, le=1, description="Cosine that two questions must have at least.")] = 0.95
    max_entries: Annotated[Positive, _doc("Questions that are remembered; the oldest go first.")] = 10_000
    max_temperature: Annotated[float, Meta(ge=0, le=2, description="Requests with a higher one want variety.")] = 1.0


class Cache(_Section, frozen=True):
    """Answers that are given again to the same request: docs/cache.md."""

    enabled: Annotated[bool, _doc("For every request. Off: two equal requests may want two answers.")] = False
    models: Annotated[tuple[str, ...], _doc("For requests for these models; `*` stands for any characters.")] = ()
    projects: Annotated[tuple[str, ...], _doc("For requests of these projects: their ids, or `*`.")] = ()
    by_request: Annotated[bool, _doc("For requests that ask for it, too: `x-homeport-cache: on`.")] = True
    ttl_seconds: Annotated[Seconds, _doc("How long an answer may be used again.")] = 3600.0
    ttl_by_model: Annotated[
        dict[str, Seconds], _doc("Model, `*` allowed -> seconds; the first that fits goes before `ttl_seconds`.")
    ] = msgspec.field(default_factory=dict)
    max_mb: Annotated[Positive, _doc("Memory for answers; those that nobody asks for go first.")] = 64
    process_seconds: Annotated[
        Seconds, _doc("With Redis: how long an answer is given again without looking there.")
    ] = 30.0
    semantic: Semantic = Semantic()


class Recording(_Section, frozen=True):
    """Answers that are written down, and given again without asking anybody: docs/record-and-replay.md."""

    record: Annotated[str | None, _doc("Folder that answers are written to. Not for production.")] = None
    replay: Annotated[
        str | None, _doc("Folder that answers come from. Without `record` nobody else is asked, and no model loaded.")
    ] = None
    speed: Annotated[
        float, Meta(ge=0, description="Of replayed streams: 1 as they were, 2 twice as fast, 0 at once.")
    ] = 1.0
    ignore: Annotated[
        tuple[str, ...], _doc("Parameters that make no other question: requests that differ in them share a recording.")
    ] = ()
    secrets: Annotated[
        tuple[str, ...], _doc("Regular expressions of more that is never written down, beside keys and tokens.")
    ] = ()


class Faults(_Section, frozen=True):
    """Faults that a client may ask for, to rehearse them: docs/record-and-replay.md."""

    allowed: Annotated[bool, _doc("Whether `x-homeport-fault` is obeyed; else it is refused with 403.")] = False


class Files(_Section, frozen=True):
    """Where the bytes of files are, and how many there may be: docs/files.md."""

    store: Annotated[
        str | None,
        _doc("`s3://BUCKET/PREFIX`: an object store, with the extra `homeport[s3]`. Without it: `folder`."),
    ] = None
    folder: Annotated[
        str | None, _doc("Folder of the bytes; `blobs` in the data folder by default. Replicas share one.")
    ] = None
    s3_endpoint: Annotated[str | None, _doc("`https://HOST:PORT` of a store that is not Amazon's.")] = None
    s3_region: Annotated[str | None, _doc("Its region.")] = None
    s3_access_key_id: Annotated[
        str | None, _doc("Without both: what the environment of the process has (AWS_..., an instance's role).")
    ] = None
    s3_secret_access_key: Annotated[str | None, _doc("Better in the environment than in the file.")] = None
    max_file_mb: Annotated[Positive, _doc("Largest file in MiB; larger ones come by `/v1/uploads`, up to 8 GB.")] = 512
    max_project_gb: Annotated[Positive, _doc("All files of a project, in GiB.")] = 2560
    download_assistants: Annotated[
        bool, _doc("Files of purpose `assistants` may be downloaded; OpenAI refuses it.")
    ] = True


class Jobs(_Section, frozen=True):
    """Who works on what outlives a request: docs/queue.md."""

    in_server: Annotated[bool, _doc("`homeport serve` does. False: only `homeport worker`, on any machine.")] = True
    lanes: Annotated[tuple[str, ...], _doc("The lanes that this process works on; all by default.")] = ()
    lease_seconds: Annotated[
        Seconds, _doc("A worker that was killed is missed after this long; its job goes on elsewhere.")
    ] = 30.0
    poll_seconds: Annotated[Seconds, _doc("How often it is looked for jobs that nobody has told of.")] = 1.0


class Batches(_Section, frozen=True):
    """How the lines of batches run: docs/batches.md."""

    lines_at_once: Annotated[
        Positive | None,
        _doc(
            "In a process, of one model. By default as many as the model takes while nobody else asks (`parallel`, on "
            "OpenVINO four times that), and 32 of an upstream."
        ),
    ] = None
    count_against_rate_limits: Annotated[
        bool, _doc("Lines take of the limits a minute and a day, and wait for them. OpenAI counts batches apart.")
    ] = False


class VectorStores(_Section, frozen=True):
    """What is searched, and how: docs/vector-stores.md."""

    embedding_model: Annotated[
        str, _doc("Makes the vectors of new stores; a store keeps the one it was made with.")
    ] = "text-embedding-3-small"
    rewrite_model: Annotated[
        str | None,
        _doc("A chat model that makes a query of a question for `rewrite_query`; by default filler words are dropped."),
    ] = None
    reranker: Annotated[
        str | None,
        _doc("A model that answers `/v1/rerank`, which puts what was found in a better order; none by default."),
    ] = None
    cache_mb: Annotated[Positive, _doc("Vectors of stores kept in memory, in each process.")] = 512
    pgvector: Annotated[
        bool, _doc("On PostgreSQL, search by its extension `vector` where it can be had; else as on SQLite.")
    ] = True


class Moderation(_Section, frozen=True):
    """What of chats and completions is moderated, in projects that have no rule of their own: docs/moderations.md."""

    input: Annotated[bool, _doc("What clients send: what is flagged gets 400.")] = False
    output: Annotated[bool, _doc("What models answer: what is flagged is withheld, `content_filter`.")] = False
    model: Annotated[str, _doc("Who judges: a model that answers `/v1/moderations`.")] = "omni-moderation-latest"
    threshold: Annotated[
        Share | None, _doc("Score of a category from which on it is flagged. Without it: where the model says so.")
    ] = None


class Documents(_Section, frozen=True):
    """How files of vector stores are read: in child processes that are killed when they take too much."""

    seconds: Annotated[Positive, _doc("To read one file.")] = 60
    memory_mb: Annotated[Positive, _doc("To read one file.")] = 1024
    at_once: Annotated[Positive, _doc("Files read at the same time, in each process.")] = 1


class Audio(_Section, frozen=True):
    """What is heard and spoken: docs/audio.md."""

    max_file_mb: Annotated[Positive, _doc("The largest file that may be sent to be heard. OpenAI takes 25.")] = 25
    max_minutes: Annotated[Positive, _doc("The longest that is heard; a file may unpack to more than it looks.")] = 240


class Images(_Section, frozen=True):
    """Pictures that are given and made: docs/images.md."""

    max_file_mb: Annotated[Positive, _doc("The largest picture that may be sent. OpenAI takes 50; 4 of dall-e-2.")] = 50
    max_megapixels: Annotated[Positive, _doc("The most that a picture may unpack to, however small its file is.")] = 36
    url_minutes: Annotated[Positive, _doc("So long the address of a picture that was made holds.")] = 60


class FineTuning(_Section, frozen=True):
    """How models are fine-tuned here: docs/fine-tuning.md."""

    lora_r: Annotated[Positive, _doc("Rank of the adapters that are trained.")] = 16
    lora_alpha: Annotated[Positive | None, _doc("They count `lora_alpha / lora_r`. By default twice the rank.")] = None
    learning_rate: Annotated[
        Annotated[float, Meta(gt=0)] | None,
        _doc("Where `learning_rate_multiplier` is 1. By default it follows the method and the size of the model."),
    ] = None
    max_length: Annotated[
        Positive | None, _doc("Tokens of the longest example. By default what the model's context holds, 4096 at most.")
    ] = None
    device: Annotated[
        Literal["auto", "cpu", "cuda"], _doc("Where it is trained; `auto`: on a graphics card where there is one.")
    ] = "auto"
    threads: Annotated[Positive | None, _doc("Of the trainer. By default as many as there are cores.")] = None
    nice: Annotated[
        int, Meta(ge=0, le=19, description="Its priority: at 19 it takes what nobody else wants, at 0 a fair share.")
    ] = 19
    adapters: Annotated[
        Positive,
        _doc("Fine-tuned models that one model serves at once; one more takes the place of the longest unused."),
    ] = 32


class Assistants(_Section, frozen=True):
    """Runs of assistants, and responses: docs/assistants.md, docs/responses.md."""

    run_seconds: Annotated[Positive, _doc("From the beginning of a run until it expires.")] = 600
    at_once: Annotated[Positive, _doc("Runs and background responses that a process works on at once.")] = 200
    poll_after_ms: Annotated[
        Positive, _doc("What `openai-poll-after-ms` says: after so long whoever polls a run looks again.")
    ] = 100
    max_turns: Annotated[Positive, _doc("Calls of the model in one run, or one response; then it fails.")] = 64
    events_hours: Annotated[Positive, _doc("So long a run that has ended can be watched from its beginning.")] = 24


class CodeInterpreter(_Section, frozen=True):
    """Where the tool `code_interpreter` runs code: docs/code-interpreter.md."""

    enabled: Annotated[
        bool, _doc("False: nobody may use it. Where this machine cannot wall code in, nobody can either way.")
    ] = True
    bubblewrap: Annotated[str, _doc("The program that builds the walls.")] = "bwrap"
    python: Annotated[
        str | None, _doc("The interpreter that runs the code, with its packages. By default Homeport's own.")
    ] = None
    memory_mb: Annotated[Positive, _doc("Of all processes of a cell together.")] = 1024
    disk_mb: Annotated[Positive, _doc("Of the files of a cell.")] = 512
    seconds: Annotated[Positive, _doc("For one execution.")] = 60
    processes: Annotated[Positive, _doc("Of a cell, threads counted.")] = 64
    cells: Annotated[
        Positive, _doc("Cells at once, in each process; who wants one more waits for the longest idle.")
    ] = 8
    idle_minutes: Annotated[Positive, _doc("A cell that was not used for so long ends; its files stay.")] = 20


class Price(_Section, frozen=True):
    """What a model costs in US dollars: `[prices.NAME]`. Goes before every list."""

    input: Annotated[Decimal | None, _doc("A million tokens of the prompt.")] = None
    cached_input: Annotated[Decimal | None, _doc("Of those, read from a cache; `input` by default.")] = None
    cache_write: Annotated[Decimal | None, _doc("Of those, written to a cache; `input` by default.")] = None
    output: Annotated[Decimal | None, _doc("A million tokens of the answer.")] = None
    input_audio: Annotated[Decimal | None, _doc("A million audio tokens heard.")] = None
    input_image: Annotated[Decimal | None, _doc("A million image tokens seen; `input` by default.")] = None
    output_audio: Annotated[Decimal | None, _doc("A million audio tokens spoken.")] = None
    output_image: Annotated[Decimal | None, _doc("A million image tokens drawn; `output` by default.")] = None
    training: Annotated[Decimal | None, _doc("A million tokens that it is fine-tuned on.")] = None
    per_image: Annotated[Decimal | dict[str, Decimal] | None, _doc("A picture, or by size.")] = None
    per_minute: Annotated[Decimal | None, _doc("A minute of audio, by the second.")] = None
    per_million_characters: Annotated[Decimal | None, _doc("Text that is spoken.")] = None
    half_in_batch: Annotated[bool, _doc("Text costs half in a batch.")] = False
    max_output: Annotated[Positive | None, _doc("Longest answer in tokens, for budgets.")] = None


class Alerts(_Section, frozen=True):
    """How spend alerts are told, beside the line in the log."""

    smtp_url: Annotated[
        str | None, _doc("`smtp://USER:PASSWORD@HOST:587` or `smtps://...`: by e-mail, too. Better in the environment.")
    ] = None
    sender: Annotated[str | None, _doc("The address that they come from.")] = None


class Dashboard(_Section, frozen=True):
    """The web pages at `/dashboard`: docs/dashboard.md."""

    enabled: Annotated[bool, _doc("Off: nothing is served there, and `/` answers browsers as it does clients.")] = True
    session_hours: Annotated[Positive, _doc("Who has signed in must do so again after this.")] = 12


class Telemetry(_Section, frozen=True):
    """What is told of the server to those who watch it: docs/telemetry.md."""

    metrics: Annotated[
        Literal["local", "admin", "open", "off"],
        _doc(
            "Who may read `/metrics`: whoever has an admin key (`admin`), or asks from this machine (`local`), or "
            "everybody (`open`); `off`: nothing is counted. Behind a proxy on this machine: `admin`."
        ),
    ] = "local"
    metrics_token: Annotated[
        str | None, _doc("A bearer token that may read `/metrics` and nothing else. Better in the environment.")
    ] = None
    otlp_endpoint: Annotated[
        str | None,
        _doc("`http://HOST:4318`: a span of each request goes there, by OTLP over HTTP. Needs `homeport[otel]`."),
    ] = None
    otlp_headers: Annotated[
        tuple[str, ...], _doc("Sent along, `NAME=VALUE` each: a key of the collector. Better in the environment.")
    ] = ()
    service_name: Annotated[str, _doc("`service.name` of the spans.")] = "homeport"
    trace_share: Annotated[
        float, Meta(ge=0, le=1, description="Of the requests that come without a trace, so many are traced.")
    ] = 1.0


class Entra(_Section, frozen=True):
    """Microsoft Entra ID tokens on Azure-style URLs. Needs the extra `homeport[entra]`."""

    issuer: Annotated[str | None, _doc("`iss` that a token must carry. Without it no token is taken.")] = None
    audience: Annotated[str, _doc("`aud` that it must carry.")] = "https://cognitiveservices.azure.com"
    jwks: Annotated[str | None, _doc("Keys that sign tokens: a file or an https URL.")] = None


class Settings(_Section, frozen=True):
    database_url: Annotated[
        str | None,
        _doc("`postgresql://USER:PASSWORD@HOST/NAME`: state and records. Without it: SQLite in the data folder."),
    ] = None
    redis_url: Annotated[
        str | None,
        _doc("`redis://HOST:6379/0`: limits and budgets are counted for all replicas together. Without it: here."),
    ] = None
    server: Server = Server()
    models: dict[str, Model] = msgspec.field(default_factory=dict)
    upstreams: dict[str, Upstream] = msgspec.field(default_factory=dict)
    aliases: Annotated[
        dict[str, str | tuple[str, ...]],
        _doc("Name -> model, or several: the next is tried when one fails before its first byte."),
    ] = msgspec.field(default_factory=dict)
    routes: dict[str, Route] = msgspec.field(default_factory=dict)
    fetch: Fetch = Fetch()
    limits: Limits = Limits()
    tiers: dict[str, dict[str, Tier]] = msgspec.field(default_factory=dict)
    prices: dict[str, Price] = msgspec.field(default_factory=dict)
    files: Files = Files()
    jobs: Jobs = Jobs()
    batches: Batches = Batches()
    vector_stores: VectorStores = VectorStores()
    documents: Documents = Documents()
    audio: Audio = Audio()
    images: Images = Images()
    fine_tuning: FineTuning = FineTuning()
    assistants: Assistants = Assistants()
    code_interpreter: CodeInterpreter = CodeInterpreter()
    moderation: Moderation = Moderation()
    alerts: Alerts = Alerts()
    cache: Cache = Cache()
    recording: Recording = Recording()
    faults: Faults = Faults()
    telemetry: Telemetry = Telemetry()
    dashboard: Dashboard = Dashboard()
    entra: Entra = Entra()

    @property
    def state_url(self) -> str:
        """Of the state's database."""
        return self.database_url or f"sqlite:///{self.data / 'state.db'}"

    @property
    def usage_url(self) -> str:
        """Of the ledger's: a file of its own on SQLite, so that records never wait for the state."""
        return self.database_url or f"sqlite:///{self.data / 'usage.db'}"

    @property
    def data(self) -> Path:
        return Path(self.server.data).expanduser()


def load(file: Path | None = None, environment: Mapping[str, str] | None = None) -> Settings:
    """Read `file` (default: ./homeport.toml where it exists), then the environment.

    Raises SettingsError: the file is missing or no TOML, a name is unknown, a value has the wrong type or range.
    """
    variables = os.environ if environment is None else environment
    chosen = file or (Path(variables["HOMEPORT_CONFIG"]) if "HOMEPORT_CONFIG" in variables else None)
    path = chosen or Path("homeport.toml")
    table: dict[str, Any] = {}
    if chosen is not None or path.exists():
        try:
            table = tomllib.loads(path.read_text("utf-8"), parse_float=Decimal)
        except FileNotFoundError:
            raise SettingsError(f"There is no configuration file {str(path)!r}.") from None
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise SettingsError(f"{path} is not valid TOML: {error}.") from None
        except OSError as error:
            raise SettingsError(f"{path} cannot be read: {error.strerror}.") from None
    _check_names(table, Settings, where=str(path))
    for name, value in sorted(variables.items()):
        if name.startswith(PREFIX) and name not in OTHER_VARIABLES and not name.startswith(TEST_PREFIX):
            _set_from_variable(table, name, value)
    try:
        return msgspec.convert(table, Settings, strict=False)
    except msgspec.ValidationError as error:
        raise SettingsError(f"{path if table else 'settings'}: {_plain(str(error))}.") from None


def first_key(environment: Mapping[str, str] | None = None) -> str | None:
    """`HOMEPORT_API_KEY`: the first key, for scripts that want to choose it themselves."""
    return (os.environ if environment is None else environment).get("HOMEPORT_API_KEY") or None


def admin_key(environment: Mapping[str, str] | None = None) -> str | None:
    """`HOMEPORT_ADMIN_KEY`: a key of the Admin API that scripts choose themselves."""
    return (os.environ if environment is None else environment).get("HOMEPORT_ADMIN_KEY") or None


def is_terminal_plain(environment: Mapping[str, str] | None = None) -> bool:
    """The user asked for output without colours and moving lines (https://no-color.org, dumb terminals)."""
    variables = os.environ if environment is None else environment
    return bool(variables.get("NO_COLOR")) or variables.get("TERM") == "dumb"


def client(environment: Mapping[str, str] | None = None) -> tuple[str, str | None]:
    """Address and key of a server, for commands that ask one: from the variables that OpenAI's SDKs read."""
    variables = os.environ if environment is None else environment
    return variables.get("OPENAI_BASE_URL") or "http://127.0.0.1:8000/v1", variables.get("OPENAI_API_KEY") or None


#: Names, or their beginnings, of variables that tell a program about its machine. There are no secrets in these.
_OF_THE_MACHINE = (
    "PATH",
    "HOME",
    "LANG",
    "LC_",
    "TMPDIR",
    "LD_LIBRARY_PATH",
    "CUDA_",
    "NVIDIA_",
    "OMP_",
    "MKL_",
    "TORCH",
)


def of_the_machine(environment: Mapping[str, str] | None = None) -> dict[str, str]:
    """What a child that computes may know of this process's variables: nothing that is a key."""
    variables = os.environ if environment is None else environment
    return {name: value for name, value in variables.items() if name.startswith(_OF_THE_MACHINE)}


def hub(environment: Mapping[str, str] | None = None) -> tuple[str, str | None]:
    """Address and token of the model hub, from the variables that Hugging Face's own tools read."""
    variables = os.environ if environment is None else environment
    return variables.get("HF_ENDPOINT") or "https://huggingface.co", variables.get("HF_TOKEN") or None


def fields(section: type[msgspec.Struct]) -> dict[str, Any]:
    """Name -> annotated type of one table."""
    return get_type_hints(section, include_extras=True)


def walk(section: type[msgspec.Struct] = Settings, prefix: str = "") -> Iterator[tuple[str, Any, Any]]:
    """Every setting as (dotted name, type, default), in the order of the file; NAME stands for a name of yours."""
    for info in msgspec.structs.fields(section):
        kind = fields(section)[info.name]
        if nested := _table_in(kind):
            yield from walk(nested.section, f"{prefix}{info.name}." + "".join(_NAMES[: nested.names]))
        else:
            yield prefix + info.name, kind, info.default if info.default is not msgspec.NODEFAULT else None


_NAMES = ("NAME.", "FAMILY.")


class _Table(NamedTuple):
    """names: how many names of the operator's stand before the section's own (`[models.NAME]`: one)."""

    section: type[msgspec.Struct]
    names: int


def _table_in(kind: Any) -> _Table | None:
    """The table behind a field: its own type, or the values of a table of tables."""
    names = 0
    while get_origin(kind) is dict:
        kind = get_args(kind)[1]
        names += 1
    return _Table(kind, names) if isinstance(kind, type) and issubclass(kind, msgspec.Struct) else None


def _check_names(table: Mapping[str, Any], section: type[msgspec.Struct], *, where: str, prefix: str = "") -> None:
    known = fields(section)
    for name, value in table.items():
        if name not in known:
            raise SettingsError(f"{where}: unknown setting {prefix + name!r}.{_nearest(name, known)}")
        nested = _table_in(known[name])
        if nested is not None:
            for path, inner in _tables(value, nested.names, f"{prefix}{name}."):
                _check_names(inner, nested.section, where=where, prefix=path)


def _tables(value: Any, names: int, prefix: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """The sections below a table, each with its dotted name; what is no table is for the conversion to refuse."""
    if not isinstance(value, dict):
        return
    if not names:
        yield prefix, value
        return
    for key, inner in value.items():
        yield from _tables(inner, names - 1, f"{prefix}{key}.")


def _nearest(name: str, known: Mapping[str, Any]) -> str:
    close = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    return f" Did you mean {close[0]!r}?" if close else f" Known here: {', '.join(known)}."


def _set_from_variable(table: dict[str, Any], name: str, value: str) -> None:
    """Put one variable where the file would have it. Table names lose their case and read `-` as `_`."""
    rest = name[len(PREFIX) :].lower()
    if rest in fields(Settings) and _is_plain(fields(Settings)[rest]):
        table[rest] = _read(value, fields(Settings)[rest])
        return
    for section, kind in fields(Settings).items():
        nested = _table_in(kind)
        if nested is None or nested.names > 1 or not rest.startswith(section + "_"):
            continue
        inner = rest[len(section) + 1 :]
        known = fields(nested.section)
        if not nested.names:
            where, path = table.setdefault(section, {}), section
            for below, its_kind in known.items():
                deeper = _table_in(its_kind)
                if deeper is not None and inner.startswith(below + "_"):
                    where, path, inner = where.setdefault(below, {}), f"{path}_{below}", inner[len(below) + 1 :]
                    known = fields(deeper.section)
                    break
            if inner in known and _is_plain(known[inner]):
                where[inner] = _read(value, known[inner])
                return
            raise SettingsError(f"Unknown variable {name}.{_nearest_variable(path, inner, known)}")
        for field in sorted(known, key=len, reverse=True):
            if inner.endswith("_" + field) and len(inner) > len(field) + 1:
                named = _name_in_table(table.setdefault(section, {}), inner[: -len(field) - 1])
                named[field] = _read(value, known[field])
                return
    sections = {f"{PREFIX}{s}_".upper(): None for s, kind in fields(Settings).items() if _table_in(kind)}
    raise SettingsError(f"Unknown variable {name}. Settings begin with {', '.join(sections)}.")


def _is_plain(kind: Any) -> bool:
    base = get_args(kind)[0] if get_origin(kind) is Annotated else kind
    return get_origin(base) is not dict and _table_in(base) is None


def _nearest_variable(section: str, inner: str, known: Mapping[str, Any]) -> str:
    close = difflib.get_close_matches(inner, known, n=1, cutoff=0.5)
    return f" Did you mean {PREFIX}{section.upper()}_{close[0].upper()}?" if close else ""


def _name_in_table(tables: dict[str, Any], name: str) -> dict[str, Any]:
    for existing in tables:
        if existing.lower().replace("-", "_").replace(".", "_") == name:
            found: dict[str, Any] = tables[existing]
            return found
    made: dict[str, Any] = tables.setdefault(name, {})
    return made


def _read(value: str, kind: Any) -> Any:
    """A variable's text as its setting's type: lists are comma-separated, the rest is left to the conversion."""
    base = get_args(kind)[0] if get_origin(kind) is Annotated else kind
    if get_origin(base) is tuple:
        return [item.strip() for item in value.split(",") if item.strip()]
    if base is bool:
        return value.strip().lower()
    return value


def _plain(message: str) -> str:
    return message.replace("`$.", "`").replace(" - at ", " at ")
