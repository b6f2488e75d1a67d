"""Which class stands behind a name. Import strings, so that a heavy library loads only when it is chosen."""

import importlib
from importlib.util import find_spec
from typing import Any

from homeport.errors import SettingsError

#: engine -> (class, the module it needs, the extra that brings it)
ENGINES: dict[str, tuple[str, str | None, str | None]] = {
    "llama_cpp": ("homeport.backends.engines.llama_cpp:LlamaCpp", "xllamacpp", "local"),
    "openvino": ("homeport.backends.engines.openvino:OpenVINO", "openvino_genai", "openvino"),
    "onnx": ("homeport.backends.engines.onnx:Onnx", "onnxruntime", "local"),
    "echo": ("homeport.backends.engines.echo:Echo", None, None),
}

UPSTREAMS = {
    "openai": "homeport.backends.upstreams.openai:OpenAIUpstream",
    "azure": "homeport.backends.upstreams.azure:AzureUpstream",
}


def installed(engine: str) -> bool:
    """Whether the engine's library is here. Looks for it, does not load it."""
    needs = ENGINES[engine][1]
    return needs is None or find_spec(needs) is not None


def engine_class(engine: str) -> Any:
    """Raises SettingsError with the install line when the engine's library is missing."""
    path, _, extra = ENGINES[engine]
    if not installed(engine):
        raise SettingsError(f"The engine {engine!r} is not installed. Install it: pip install 'homeport[{extra}]'.")
    return load(path)


def load(path: str) -> Any:
    module, _, name = path.partition(":")
    return getattr(importlib.import_module(module), name)
