"""The part of the composition root that answers: models of this machine, upstreams, and the way from names to them."""

from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from homeport.backends import models as model_files
from homeport.backends import registry
from homeport.backends.engine_room import EngineRoom, Lent
from homeport.backends.engines import gguf_header
from homeport.backends.fetcher import Fetcher
from homeport.backends.held import MISSING, Held, Kind
from homeport.backends.upstreams.images import Images
from homeport.errors import ModelNotReady, SettingsError
from homeport.gateway.endpoints import ENDPOINTS
from homeport.gateway.recording import Played
from homeport.gateway.recordings import Recordings
from homeport.gateway.retries import Retries
from homeport.gateway.routing import Router, Share, Target
from homeport.settings import (
    DEFAULT_ALIASES,
    DEFAULT_DRAWING_ALIASES,
    DEFAULT_DRAWING_MODEL,
    DEFAULT_EMBEDDING_ALIASES,
    DEFAULT_EMBEDDING_MODEL,
    DEFAULT_HD_SPEAKING_ALIASES,
    DEFAULT_HD_SPEAKING_MODEL,
    DEFAULT_HEARING_ALIASES,
    DEFAULT_HEARING_MODEL,
    DEFAULT_MODEL,
    DEFAULT_MODERATION_ALIASES,
    DEFAULT_SPEAKING_ALIASES,
    DEFAULT_SPEAKING_MODEL,
    Fetch,
    Model,
    Settings,
    Upstream,
)

#: Places of an engine with weights, unless the settings say otherwise.
PARALLEL = 16
#: Models of these have no tokens to count.
_OF_MEDIA: Collection[Kind] = ("hearing", "speaking", "drawing")
#: A model of this machine: held here, or lent by the process that holds it.
Local = Held | Lent


class Room(NamedTuple):
    """The engine room of another process: its socket, and the models that it holds, which may be none."""

    socket: Path
    models: Mapping[str, Kind]


class Backing(NamedTuple):
    """held: models of this machine. fetcher: of what users give by URL. engines: the room that lends them, where it
    does. voices: of those that speak, what is heard under OpenAI's names of voices. descriptions: of models whose name
    alone would promise something else. capabilities: of every one held, what it can be asked for."""

    held: Mapping[str, Local]
    upstreams: Mapping[str, Any]
    router: Router
    fetcher: Fetcher
    engines: EngineRoom | None = None
    voices: Mapping[str, Mapping[str, str]] = {}
    descriptions: Mapping[str, str] = {}
    capabilities: Mapping[str, Sequence[str]] = {}


def backing(settings: Settings, room: Room | None = None) -> Backing:
    """What stands behind every name. In replay that is nothing.

    room: where this process holds no model with weights. Raises SettingsError.
    """
    fetcher = _fetcher(settings.fetch)
    if settings.recording.replay is not None and settings.recording.record is None:
        played = Played(Recordings(Path(settings.recording.replay).expanduser()))
        nobody: dict[str, Any] = dict.fromkeys(settings.upstreams, played)
        return Backing({}, nobody, _router(settings, {}, nobody, [Target("replay", played, "*", "homeport")]), fetcher)
    engines = EngineRoom(room.socket) if room is not None and room.models else None
    held: dict[str, Local] = {}
    for name, model in local_models(settings).items():
        if room is None or model.engine == "echo":
            held[name] = local(name, model, settings, held)
        elif engines is not None and name in room.models:
            held[name] = engines.model(name, room.models[name])
        else:
            held[name] = _missing(name, model, settings)
    images = Images(fetcher, settings.fetch) if any(one.inline_images for one in settings.upstreams.values()) else None
    upstreams = {name: _upstream(name, upstream, images) for name, upstream in settings.upstreams.items()}
    router = _router(settings, held, upstreams)
    told = (_voices(settings), _descriptions(settings), _capabilities(settings, held))
    return Backing(held, upstreams, router, fetcher, engines, *told)


def local_models(settings: Settings) -> dict[str, Model]:
    """The models of this machine: those of the settings, or the default ones and `echo`."""
    if settings.models:
        return settings.models
    names = (DEFAULT_MODEL, DEFAULT_EMBEDDING_MODEL, DEFAULT_HEARING_MODEL)
    return {
        **{name: Model() for name in names},
        DEFAULT_SPEAKING_MODEL: Model(engine="hibari"),
        DEFAULT_HD_SPEAKING_MODEL: Model(),
        DEFAULT_DRAWING_MODEL: Model(),
        "echo": Model(engine="echo"),
    }


def heavy_models(settings: Settings) -> dict[str, Kind]:
    """Those with weights that are here. Raises SettingsError: one of them could not be loaded."""
    found: dict[str, Kind] = {}
    for name, model in local_models(settings).items():
        weights = _weights(name, model, settings) if model.engine != "echo" else None
        if weights is not None and not _unusable(name, weights, settings):
            for engine in weights.engines:
                registry.check(engine)
            found[name] = weights.kind
    return found


class Weights(NamedTuple):
    """path: None of what is in the engine's library. engines: those that run it, the preferred one first."""

    path: Path | None
    engines: Sequence[str]
    kind: Kind


def weights(settings: Settings) -> dict[str, Weights | None]:
    """Of each model of this machine; None: of `echo`, and of what is not here. Raises SettingsError."""
    models = local_models(settings).items()
    return {name: _weights(name, model, settings) if model.engine != "echo" else None for name, model in models}


def _weights(name: str, model: Model, settings: Settings) -> Weights | None:
    """None: the model was not pulled. Raises SettingsError."""
    if model.engine in registry.BUILT_IN and model.path is None:
        return Weights(None, (model.engine,), registry.KINDS[model.engine])
    if model.path is not None:
        path: Path | None = _served(Path(model.path).expanduser())
        if path is not None and not path.is_file():
            raise SettingsError(f"models.{name}.path: there is no file {str(path)!r}.")
    else:
        path = model_files.find(name, settings.data / "models")
    if path is None:
        return None
    engine = model.engine if model.engine != "auto" else _engine_of(name, model, path)
    if engine in ("auto", "llama_cpp", "openvino") and path.suffix not in _OF_OTHERS and _makes_vectors(path):
        if engine == "openvino":
            raise SettingsError(f"models.{name}: the engine {engine!r} makes no vectors of a GGUF's model.")
        registry.check("llama_cpp")
        return Weights(path, ("llama_cpp",), "vectors")
    if engine == "auto":
        return Weights(path, _engines_for_text(), "text")
    kind = registry.KINDS[engine]
    if path.suffix in _OF_OTHERS if kind == "text" else path.suffix not in _SUFFIXES[kind]:
        raise SettingsError(f"models.{name}: the engine {engine!r} does not run {path.name!r}.")
    return Weights(path, (engine,), kind)


def _served(path: Path) -> Path:
    """Of a folder, the file that says what is in it."""
    return path / model_files.INDEX if (path / model_files.INDEX).is_file() else path


#: How files of a kind end. What text is made from may be called anything else, too.
_SUFFIXES: Mapping[Kind, Sequence[str]] = {
    "vectors": (".onnx",),
    "hearing": (".bin", ".onnx"),
    "speaking": (".onnx",),
    "drawing": (".json",),
}
_OF_OTHERS = (".bin", ".onnx", ".json")


def _makes_vectors(path: Path) -> bool:
    """Of what is no GGUF its engine says so, when it loads it."""
    try:
        return gguf_header.makes_vectors(gguf_header.read(path, tokenizer=False))
    except SettingsError:
        return False


def _unusable(name: str, weights: Weights, settings: Settings) -> bool:
    """A model that nobody has asked for by name, whose library is not here: it is missing, and the others run."""
    return name not in settings.models and not any(map(registry.installed, weights.engines))


def _engine_of(name: str, model: Model, path: Path) -> str:
    """What runs a file that nobody has named an engine for: `auto`, where there are several."""
    named = _named_engine(name, model)
    by_suffix = {".onnx": "onnx", ".bin": "whisper", ".json": "diffusion"}
    return by_suffix.get(path.suffix, "auto") if named == "auto" else named


def _named_engine(name: str, model: Model) -> str:
    """By the settings or the catalogue; else `auto`."""
    entry = model_files.catalogue().get(name) if model.path is None else None
    return entry.engine if entry is not None and model.engine == "auto" else model.engine


def local(name: str, model: Model, settings: Settings, beside: Mapping[str, Local]) -> Held:
    """A local model behind the protocols of what it can do, not loaded yet. Raises SettingsError.

    beside: the models of this process, complete once all have been made: one may ask another.
    """
    if model.engine == "echo":
        like = {
            "context_length": model.context_length,
            "delay": model.delay,
            "parallel": model.parallel,
            "queue": model.queue,
        }
        echo = registry.engine_class("echo")(**like)
        vectors = registry.engine_class("echo", vectors=True)(**like)
        moderator = registry.load("homeport.backends.engines.echo_moderator:EchoModerator")()
        return Held(
            name,
            _local("text", name, echo, settings),
            _local("vectors", name, vectors, settings),
            _local_moderations(name, moderator),
        )
    weights = _weights(name, model, settings)
    if weights is None or _unusable(name, weights, settings):
        return _missing(name, model, settings)
    if weights.kind in _OF_MEDIA and model.context_length is not None:
        raise SettingsError(f"models.{name}.context_length: the engine {weights.engines[0]!r} has no tokens to count.")
    if weights.engines[0] != "diffusion" and (model.guidance is not None or model.steps is not None):
        raise SettingsError(f"models.{name}: guidance and steps are of the engine 'diffusion' alone.")
    more: dict[str, Any] = {"vector": _vector(settings, beside)} if "scene" in weights.engines else {}
    if "llama_cpp" in weights.engines and weights.kind == "text":
        more = {"adapters": settings.fine_tuning.adapters}
    engines = [_engine(name, engine, weights, model, more) for engine in weights.engines]
    if len(engines) > 1:
        engines = [registry.load("homeport.backends.engines.preferred:Preferred")(engines)]
    backend = _local(weights.kind, name, engines[0], settings)
    if weights.kind == "vectors":
        classifier = registry.load("homeport.backends.moderation.classifier:Classifier")(name, engines[0])
        return Held(name, backend, _local_moderations(name, classifier))
    return Held(name, backend)


def _missing(name: str, model: Model, settings: Settings) -> Held:
    weights = _weights(name, model, settings)
    if weights is not None and _unusable(name, weights, settings):
        return Held(name, missing=f"The model `{name}` cannot run. {registry.install_line(weights.engines[0])}")
    return Held(name, missing=MISSING.format(name))


def _engines_for_text() -> Sequence[str]:
    found = [engine for engine in ("openvino", "llama_cpp") if registry.installed(engine)]
    if "llama_cpp" not in found:
        registry.engine_class("llama_cpp")  # raises with the install line
    return found


def _vector(settings: Settings, beside: Mapping[str, Local]) -> Callable[[str], Awaitable[Sequence[float]]] | None:
    """Of a word, by the default model of embeddings, for whose vectors `scene` knows what is near; None: it is not
    here."""
    name = DEFAULT_EMBEDDING_MODEL
    model = local_models(settings).get(name)
    weights = _weights(name, model, settings) if model is not None else None
    if weights is None or weights.kind != "vectors" or _unusable(name, weights, settings):
        return None

    async def vector(text: str) -> Sequence[float]:
        held = beside.get(name)
        if not isinstance(held, Held):
            raise ModelNotReady(MISSING.format(name))
        return await held.vector(text)

    return vector


def _engine(name: str, engine: str, weights: Weights, model: Model, more: Mapping[str, Any]) -> Any:
    """more: what this engine alone is told."""
    if engine == "diffusion":
        if model.parallel not in (None, 1):
            raise SettingsError(f"models.{name}.parallel: the engine 'diffusion' draws one picture at a time.")
        return registry.engine_class(engine)(
            weights.path, threads=model.threads, queue=model.queue, guidance=model.guidance, steps=model.steps
        )
    more = dict(more) if weights.kind in _OF_MEDIA or engine == "llama_cpp" else {}
    if weights.kind not in _OF_MEDIA:
        more["context_length"] = model.context_length
    if weights.kind == "vectors":
        more["shortens"] = model.matryoshka
    return registry.engine_class(engine, vectors=weights.kind == "vectors")(
        weights.path, parallel=model.parallel or PARALLEL, threads=model.threads, queue=model.queue, **more
    )


def _local(kind: Kind, name: str, engine: Any, settings: Settings) -> Any:
    backend = registry.load(registry.LOCAL[kind])
    if kind == "drawing":
        return backend(name, engine, settings.images)
    return backend(name, engine, settings.audio) if kind in _OF_MEDIA else backend(name, engine)


def _local_moderations(name: str, moderator: Any) -> Any:
    return registry.load("homeport.backends.local.moderations:LocalModerations")(name, moderator)


def _fetcher(settings: Fetch) -> Fetcher:
    """One for all, as there is one set of rules. Raises SettingsError."""
    try:
        return Fetcher(settings)
    except ValueError as error:
        raise SettingsError(f"fetch: {error}") from None


def _upstream(name: str, upstream: Upstream, images: Images | None) -> Any:
    try:
        made = registry.load(registry.UPSTREAMS[upstream.kind])
        return made(name, upstream, images if upstream.inline_images else None)
    except ValueError as error:
        raise SettingsError(f"upstreams.{name}: {error}") from None


def _router(
    settings: Settings, held: Mapping[str, Local], upstreams: Mapping[str, Any], anything: Sequence[Target] = ()
) -> Router:
    """anything: targets for every name, after those of the settings. Raises SettingsError."""
    models = {name: Target("local", backend, name, "homeport", local=True) for name, backend in held.items()}
    wildcards: list[Target] = []
    retries = {name: _retries(upstream) for name, upstream in settings.upstreams.items()}

    def target(upstream: str, model: str) -> Target:
        return Target(upstream, upstreams[upstream], model, upstream, retries=retries[upstream])

    def tuned(upstream: str, model: str) -> Target:
        """What was made from a model of an upstream: one of its accounts has it."""
        backend = upstreams[upstream]
        backend = getattr(backend, "account", backend)
        return Target(upstream, backend, model, upstream, retries=retries[upstream])

    for name, upstream in settings.upstreams.items():
        for model in upstream.models:
            if model == "*":
                wildcards.append(target(name, model))
            else:
                models.setdefault(model, target(name, model))
    routes: dict[str, list[Share]] = {}
    for name, route in settings.routes.items():
        if name in settings.aliases:
            raise SettingsError(f"{name!r} is both an alias and a route. Put the alias's names into [routes.{name!r}].")
        for one in route.targets:
            if one.upstream is not None and one.upstream not in upstreams:
                raise SettingsError(f"routes.{name}: there is no upstream {one.upstream!r}. {_known(upstreams)}")
        routes[name] = [
            Share(target(one.upstream, one.model or name) if one.upstream else one.model or name, one.weight)
            for one in route.targets
        ]
    aliases = {alias: (to,) if isinstance(to, str) else to for alias, to in settings.aliases.items()}
    for name, model_settings in settings.models.items():
        for alias in model_settings.aliases:
            aliases.setdefault(alias, (name,))
    defaults = [
        *_defaults(DEFAULT_ALIASES, "chat", settings, held),
        *_defaults(DEFAULT_EMBEDDING_ALIASES, "embed", settings, held),
        *_defaults(DEFAULT_HEARING_ALIASES, "transcribe", settings, held),
        *_defaults(DEFAULT_SPEAKING_ALIASES, "speak", settings, held),
        *_defaults(DEFAULT_HD_SPEAKING_ALIASES, "speak", settings, held, which=-1),
        *_defaults(DEFAULT_DRAWING_ALIASES, "draw", settings, held),
        *_defaults(DEFAULT_MODERATION_ALIASES, "moderate", settings, held),
    ]
    return Router(
        models=models,
        aliases=aliases,
        routes=routes,
        wildcards=[*wildcards, *anything],
        defaults=defaults,
        through=tuned,
    )


def _defaults(
    aliases: Sequence[str], capability: str, settings: Settings, held: Mapping[str, Local], which: int = 0
) -> list[tuple[str, str]]:
    """OpenAI's names for the first model of this machine that can do it, or another one."""
    found = able(settings, held, capability)
    return [(alias, found[which]) for alias in aliases] if found else []


def _voices(settings: Settings) -> dict[str, Mapping[str, str]]:
    engines = {name: _named_engine(name, model) for name, model in local_models(settings).items()}
    return {name: registry.load(registry.VOICES[one]) for name, one in engines.items() if one in registry.VOICES}


def _descriptions(settings: Settings) -> dict[str, str]:
    engines = {name: _named_engine(name, model) for name, model in local_models(settings).items()}
    return {name: registry.DESCRIPTIONS[one] for name, one in engines.items() if one in registry.DESCRIPTIONS}


def _capabilities(settings: Settings, held: Mapping[str, Local]) -> dict[str, Sequence[str]]:
    engines = {name: model.engine for name, model in local_models(settings).items()}
    asked = [endpoint.capability for endpoint in ENDPOINTS]
    return {name: [able for able in asked if _can(one, engines[name], able)] for name, one in held.items()}


_LAST = {"scene": 1, "echo": 2}


def able(settings: Settings, held: Mapping[str, Local], capability: str) -> list[str]:
    """Models of this machine that can do it; what stands in for something better (`scene`, whose drawings are composed)
    behind others, and those that only pretend (`echo`) last."""
    models = local_models(settings)
    found = [name for name, one in held.items() if _can(one, models[name].engine, capability)]
    return sorted(found, key=lambda name: _LAST.get(_named_engine(name, models[name]), 0))


def _can(held: Local, engine: str, capability: str) -> bool:
    """Of a model that is not here: by its engine, or its kind in the catalogue."""
    if held.state != "missing":
        return held.can(capability)
    entry = model_files.catalogue().get(held.name)
    kind = entry.kind if entry is not None else _CATALOGUED[registry.KINDS.get(engine, "text")]
    return capability in _CAPABILITIES[kind]


#: What a model is -> its kind in the catalogue.
_CATALOGUED: Mapping[Kind, str] = {
    "text": "chat",
    "vectors": "embeddings",
    "hearing": "transcription",
    "speaking": "speech",
    "drawing": "images",
}
#: Kind of the catalogue -> what such models can be asked for.
_CAPABILITIES = {
    "chat": ("chat", "complete"),
    "embeddings": ("embed", "moderate"),
    "transcription": ("transcribe", "translate"),
    "speech": ("speak",),
    "images": ("draw", "edit_image", "vary_image"),
}


def _retries(upstream: Upstream) -> Retries:
    return Retries(most=upstream.retries, longest=upstream.wait_seconds, within=upstream.retry_within_seconds)


def _known(upstreams: Mapping[str, Any]) -> str:
    return f"There are: {', '.join(upstreams)}." if upstreams else "There is none: set [upstreams.NAME]."
