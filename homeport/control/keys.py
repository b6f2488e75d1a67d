"""Rules of API keys: made at random, shown once, stored as a hash, revoked by their id."""

import hashlib

from homeport import clock, ids
from homeport.errors import SettingsError
from homeport.store.keyfile import KeyFile, StoredKey

#: A preset key (HOMEPORT_API_KEY) must be long enough not to be guessed.
SHORTEST = 16


def redacted(secret: str) -> str:
    """`sk-homeport-ab...yz`: enough to recognise a key, not enough to use it."""
    return f"{secret[:14]}...{secret[-2:]}" if len(secret) >= 24 else f"{secret[:3]}...{secret[-2:]}"


def create(file: KeyFile, name: str, *, secret: str | None = None) -> tuple[StoredKey, str]:
    """Make a key. Returns its record and the key itself, which cannot be shown again."""
    if secret is not None and (len(secret) < SHORTEST or not secret.isascii() or not secret.isprintable()):
        raise SettingsError(f"HOMEPORT_API_KEY must be at least {SHORTEST} printable ASCII characters.")
    if secret is not None and secret != secret.strip():
        raise SettingsError("HOMEPORT_API_KEY must not begin or end with a blank.")
    secret = secret or ids.secret_key()
    key = StoredKey(
        id=ids.key(),
        name=name,
        sha256=hashlib.sha256(secret.encode()).hexdigest(),
        redacted=redacted(secret),
        created_at=int(clock.now()),
    )
    file.write([*file.read(), key])
    return key, secret


def ensure_first(file: KeyFile, preset: str | None) -> str | None:
    """Before serving: the preset key is known, or some key is. Returns a newly made key, to be shown once."""
    known = file.read()
    if preset is not None:
        if all(key.sha256 != hashlib.sha256(preset.encode()).hexdigest() for key in known):
            create(file, "HOMEPORT_API_KEY", secret=preset)
        return None
    if known:
        return None
    return create(file, "first key")[1]


def revoke(file: KeyFile, key_id: str) -> StoredKey:
    """Forget a key. A running server refuses it within a second. Raises SettingsError when there is no such id."""
    keys = file.read()
    for key in keys:
        if key.id == key_id:
            file.write([other for other in keys if other is not key])
            return key
    raise SettingsError(f"There is no key {key_id!r}. `homeport keys list` shows the ids.")
