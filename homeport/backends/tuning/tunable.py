"""Which models of this machine can be fine-tuned: llama.cpp serves them, and the trainer knows how they are built."""

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from homeport.backends import models as model_files
from homeport.backends import registry
from homeport.backends.engines import gguf_header
from homeport.backends.held import MISSING
from homeport.errors import InvalidRequest, ModelNotReady, SettingsError
from homeport.settings import DEFAULT_MODEL, Model, Settings
from homeport.training.text import architectures

#: The trainer's adapters are its. `auto` has it for what the engine that it prefers cannot do.
_ENGINES = ("auto", "llama_cpp")


class Base(NamedTuple):
    """path: of the GGUF that serves, and is trained over."""

    name: str
    path: Path


class Tunable:
    """Looks at the files when it is asked: a model may be pulled while the server runs."""

    def __init__(self, models: Mapping[str, Model], folder: Path) -> None:
        """folder: of pulled models."""
        self._models = models
        self._folder = folder

    @classmethod
    def of(cls, settings: Settings) -> "Tunable":
        return cls(settings.models or {DEFAULT_MODEL: Model()}, settings.data / "models")

    def base(self, name: str) -> Base:
        """name: of a local model; aliases are the router's to follow. Raises InvalidRequest: it cannot be tuned;
        ModelNotReady: it is not on this machine."""
        if name not in self._models:
            raise self.not_available(name)
        found = self._found(name)
        if isinstance(found, str):
            raise self.not_available(name, found)
        if found is None:
            raise ModelNotReady(MISSING.format(name))
        return found

    def not_available(self, model: str, reason: str = "") -> InvalidRequest:
        """In OpenAI's words, and which are. reason: the end of a sentence."""
        there = ", ".join([name for name in self._models if isinstance(self._found(name), Base)]) or "none"
        because = f" It is not, because {reason}." if reason else ""
        return InvalidRequest(
            f"Model {model} is not available for fine-tuning or does not exist.{because} Models of this machine that "
            f"can be fine-tuned: {there}.",
            param="model",
            code="model_not_available",
        )

    def _found(self, name: str) -> Base | str | None:
        """Why it cannot be tuned, as the end of a sentence; None: it is not here."""
        model = self._models[name]
        entry = model_files.catalogue().get(name) if model.path is None else None
        engine = entry.engine if entry is not None and model.engine == "auto" else model.engine
        if engine not in _ENGINES:
            return f"the engine {engine!r} serves it, and adapters are for 'llama_cpp'"
        path = Path(model.path).expanduser() if model.path is not None else model_files.find(name, self._folder)
        if path is None or not path.is_file():
            return None
        try:
            header = gguf_header.read(path, tokenizer=False)
        except SettingsError:
            return "its weights are no GGUF file"
        if reason := architectures.check(header):
            return reason
        if not registry.installed("llama_cpp"):
            return "llama.cpp is not here to serve it: pip install 'homeport[local]'"
        return Base(name, path)
