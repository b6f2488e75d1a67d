"""Who is calling: a key is looked up by its hash in a snapshot of the stored keys."""

import hashlib
from dataclasses import dataclass

from homeport import clock
from homeport.errors import InvalidKey, MissingKey
from homeport.store.keyfile import KeyFile

#: A revoked key stops working, and a new one starts, within this many seconds.
REFRESH_SECONDS = 0.5

_HELP = "You can find your API key where Homeport was first started, or make one with `homeport keys create`."
_MISSING = (
    "You didn't provide an API key. You need to provide your API key in an Authorization header using Bearer auth "
    "(i.e. Authorization: Bearer YOUR_KEY), or as the password field (with blank username) if you're accessing the API "
    f"from your browser and are prompted for a username and password. {_HELP}"
)


@dataclass(frozen=True, slots=True)
class Principal:
    """On whose account a request runs. Stored with batches and runs, so that they pass the same limits."""

    key_id: str
    project: str
    organization: str


class Keyring:
    def __init__(self, file: KeyFile, organization: str) -> None:
        self._file = file
        self._organization = organization
        self._by_hash: dict[bytes, Principal] = {}
        self._version = -1
        self._looked_at = float("-inf")
        self._refresh()

    def principal(self, secret: bytes | None) -> Principal:
        """Raises InvalidKey: 401, with the key masked in the message.

        The time of the look-up tells nothing about stored keys: what is compared is a SHA-256.
        """
        if not secret:
            raise MissingKey(_MISSING)
        if clock.monotonic() - self._looked_at > REFRESH_SECONDS:
            self._refresh()
        found = self._by_hash.get(hashlib.sha256(secret).digest())
        if found is None:
            raise InvalidKey(f"Incorrect API key provided: {masked(secret)}. {_HELP}")
        return found

    def _refresh(self) -> None:
        self._looked_at = clock.monotonic()
        version = self._file.version()
        if version == self._version:
            return
        self._by_hash = {
            bytes.fromhex(key.sha256): Principal(key.id, key.project, self._organization) for key in self._file.read()
        }
        self._version = version


def masked(secret: bytes) -> str:
    """`sk-a***yz`: four characters and two, and nothing of a short key."""
    text = secret.decode("ascii", "replace")
    return f"{text[:4]}{'*' * min(len(text) - 6, 24)}{text[-2:]}" if len(text) >= 12 else "***"
