"""What a target is by the settings. When they change, what it has answered is another backend's answer."""

import hashlib
from pathlib import Path
from typing import Any

import msgspec

from homeport import __version__
from homeport.backends import models as model_files
from homeport.gateway.routing import Target
from homeport.settings import Model, Settings

#: How a backend is reached and how much of it there is: that does not change what it says. Nor do keys, which are
#: changed now and then.
_OF_NO_ACCOUNT = frozenset(
    """aliases ca_file connections delay embedding_inputs embedding_tokens failures models parallel queue retries
    retry_unanswered threads""".split()
)
_ENDINGS = ("_key", "_keys", "_seconds", "_token")


class Configurations:
    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._known: dict[tuple[str, str], bytes] = {}

    def of(self, target: Target) -> bytes:
        """A digest; of a local model also of the release, which renders prompts, and of which file it is."""
        model = target.base or target.model  # which adapter is over it, the name of a fine-tuned model tells
        name = ("local", model) if target.local else ("upstream", target.name)
        known = self._known.get(name)
        if known is None:
            described: Any = self._local(model) if target.local else self._upstream(target.name)
            packed = msgspec.msgpack.encode(described, order="sorted")
            known = self._known[name] = hashlib.blake2b(packed, digest_size=16).digest()
        return known

    def _upstream(self, name: str) -> dict[str, Any]:
        return _fields(self._settings.upstreams.get(name))

    def _local(self, name: str) -> list[Any]:
        model = self._settings.models.get(name) or Model()
        path = Path(model.path).expanduser() if model.path else model_files.find(name, self._settings.data / "models")
        state = path.stat() if path is not None and path.exists() else None
        file = None if state is None else [str(path), state.st_size, state.st_mtime_ns]
        return [__version__, _fields(model), file]


def _fields(section: msgspec.Struct | None) -> dict[str, Any]:
    fields: dict[str, Any] = msgspec.to_builtins(section) if section is not None else {}
    return {name: fields[name] for name in fields if name not in _OF_NO_ACCOUNT and not name.endswith(_ENDINGS)}
