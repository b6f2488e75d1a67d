"""Which class stands behind a name. Import strings, so that a heavy library loads only when it is chosen."""

import importlib
from importlib.util import find_spec
from typing import Any

from homeport.backends.held import Kind
from homeport.errors import SettingsError

#: engine -> (class, the module it needs, the extra that brings it)
ENGINES: dict[str, tuple[str, str | None, str | None]] = {
    "llama_cpp": ("homeport.backends.engines.llama_cpp:LlamaCpp", "xllamacpp", "local"),
    "openvino": ("homeport.backends.engines.openvino:OpenVINO", "openvino_genai", "openvino"),
    "onnx": ("homeport.backends.engines.onnx:Onnx", "onnxruntime", "local"),
    "whisper": ("homeport.backends.engines.whisper:Whisper", "faster_whisper", "audio"),
    "moonshine": ("homeport.backends.engines.moonshine:Moonshine", "faster_whisper", "audio"),
    "hibari": ("homeport.backends.engines.hibari:Hibari", "hibari", "audio"),
    "kokoro": ("homeport.backends.engines.kokoro:Kokoro", "hibari", "audio"),
    "scene": ("homeport.backends.engines.scene:Scene", "thorvg_python", "images"),
    "diffusion": ("homeport.backends.engines.diffusion:Diffusion", "onnxruntime", "images"),
    "echo": ("homeport.backends.engines.echo:Echo", None, None),
}
#: engine -> the class that makes vectors, of those that also continue texts
VECTOR_ENGINES = {
    "llama_cpp": "homeport.backends.engines.llama_vectors:LlamaVectors",
    "echo": "homeport.backends.engines.echo_vectors:EchoVectors",
}

#: What a model is to those who ask for it; of `echo`, which is several, none.
KINDS: dict[str, Kind] = {
    "llama_cpp": "text",
    "openvino": "text",
    "onnx": "vectors",
    "whisper": "hearing",
    "moonshine": "hearing",
    "hibari": "speaking",
    "kokoro": "speaking",
    "scene": "drawing",
    "diffusion": "drawing",
}
#: Kind -> what stands between a request and an engine of it: (name, engine) -> backend; for what is heard and spoken
#: (name, engine, settings of audio), for what draws (name, engine, settings of images).
LOCAL: dict[Kind, str] = {
    "text": "homeport.backends.generation:LocalText",
    "vectors": "homeport.backends.local.embeddings:LocalEmbeddings",
    "hearing": "homeport.backends.local.transcriptions:LocalTranscriptions",
    "speaking": "homeport.backends.local.speech:LocalSpeech",
    "drawing": "homeport.backends.local.images:LocalImages",
}
#: Engines whose weights come with their library: there is no file, and nothing to pull.
BUILT_IN = frozenset({"hibari"})
#: Engines that speak -> OpenAI's names of voices, and which of the engine's own is heard.
VOICES = {
    "hibari": "homeport.backends.engines.hibari:VOICES",
    "kokoro": "homeport.backends.engines.kokoro:VOICES",
}
#: Engines of which whoever chooses a model should know more than its name -> what.
DESCRIPTIONS = {
    "scene": "Composes drawings of vector art: it lays out what the prompt names, and says what it did not understand. "
    "It generates no photographs and no paintings.",
}

UPSTREAMS = {
    "openai": "homeport.backends.upstreams.openai:OpenAIUpstream",
    "azure": "homeport.backends.upstreams.azure:AzureUpstream",
}


def installed(engine: str) -> bool:
    """Whether the engine's library is here. Looks for it, does not load it."""
    needs = ENGINES[engine][1]
    return needs is None or find_spec(needs) is not None


def check(engine: str) -> None:
    """Raises SettingsError with the install line when the engine's library is missing."""
    if not installed(engine):
        raise SettingsError(install_line(engine))


def install_line(engine: str) -> str:
    """What brings an engine that is not here."""
    return f"The engine {engine!r} is not installed. Install it: pip install 'homeport[{ENGINES[engine][2]}]'."


def engine_class(engine: str, *, vectors: bool = False) -> Any:
    """Loads its library. Raises SettingsError as check."""
    check(engine)
    if ENGINES[engine][1] is not None and find_spec("numpy") is not None:
        # Engines are started side by side, each in a thread, and most of them begin with it: begun in two threads at
        # once, it is broken in both.
        importlib.import_module("numpy")
    path = ENGINES[engine][0]
    return load(VECTOR_ENGINES.get(engine, path) if vectors else path)


def load(path: str) -> Any:
    module, _, name = path.partition(":")
    return getattr(importlib.import_module(module), name)
