"""API keys at rest: a JSON file of mode 600 that holds hashes, never keys."""

import os
from pathlib import Path

import msgspec

from homeport.errors import SettingsError


class StoredKey(msgspec.Struct, frozen=True):
    """One key. sha256: hex digest of the whole key; redacted: what may be shown of it; created_at: unix seconds."""

    id: str
    name: str
    sha256: str
    redacted: str
    created_at: int
    project: str = "default"


_decoder = msgspec.json.Decoder(list[StoredKey])


class KeyFile:
    def __init__(self, path: Path) -> None:
        self.path = path

    def version(self) -> int:
        """Changes whenever the file was replaced: nanoseconds of its modification, 0 when there is none."""
        try:
            return self.path.stat().st_mtime_ns
        except FileNotFoundError:
            return 0

    def read(self) -> list[StoredKey]:
        try:
            return _decoder.decode(self.path.read_bytes())
        except FileNotFoundError:
            return []
        except msgspec.DecodeError:
            raise SettingsError(
                f"{self.path} is damaged. Restore it from a copy, or move it away to start with a new key."
            ) from None

    def write(self, keys: list[StoredKey]) -> None:
        """Replace the file in one step: a crash leaves the old one or the new one, never half of one."""
        self.path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        temporary = self.path.with_suffix(".tmp")
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(msgspec.json.format(msgspec.json.encode(keys), indent=1) + b"\n")
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, self.path)
