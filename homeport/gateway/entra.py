"""Microsoft Entra ID: a bearer token is a JWT, checked against a configured issuer, audience and key set."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec

from homeport import clock
from homeport.backends.upstreams.client import Client
from homeport.errors import InvalidKey, SettingsError
from homeport.gateway.keyring import Principal
from homeport.settings import Entra as EntraSettings

ALGORITHMS = ("RS256", "RS384", "RS512", "ES256", "ES384")
#: Of the names of callers who have no key of ours.
PREFIX = "entra:"
#: Key sets are read again at most this often when a token names a key that is not known.
REFRESH_SECONDS = 60.0
LARGEST_KEY_SET = 1_000_000


class Entra:
    """Raises InvalidKey for whatever is wrong with a token; the reason stays out of the answer."""

    def __init__(self, settings: EntraSettings, caller: Callable[[str], Principal]) -> None:
        """caller: on whose account a caller of that name asks."""
        self._settings = settings
        self._caller = caller
        self._keys: dict[str, Any] = {}
        self._read_at = float("-inf")
        self._reading = asyncio.Lock()
        if settings.issuer is not None and settings.jwks is None:
            raise SettingsError("entra.issuer is set, and entra.jwks is not: name a key set file or https URL.")
        if settings.issuer is not None:
            try:
                import jwt  # noqa: F401
            except ImportError:
                raise SettingsError("Entra tokens need an extra: pip install 'homeport[entra]'.") from None

    async def principal(self, token: bytes) -> Principal:
        if self._settings.issuer is None:
            raise InvalidKey("Entra tokens are not configured here: set entra.issuer and entra.jwks.")
        import jwt

        try:
            key = await self._key(jwt.get_unverified_header(token).get("kid", ""))
            claims = jwt.decode(
                token,
                key,
                algorithms=list(ALGORITHMS),
                audience=self._settings.audience,
                issuer=self._settings.issuer,
                options={"require": ["exp", "aud", "iss"]},
                leeway=60,
            )
        except jwt.PyJWTError:
            raise InvalidKey("The Entra token is not valid.") from None
        caller = claims.get("oid") or claims.get("appid") or claims.get("azp") or claims.get("sub")
        if not caller:
            raise InvalidKey("The Entra token names no caller (oid, appid or sub).")
        return self._caller(f"{PREFIX}{caller}")

    async def _key(self, key_id: str) -> Any:
        if key_id not in self._keys and clock.monotonic() - self._read_at > REFRESH_SECONDS:
            async with self._reading:
                if clock.monotonic() - self._read_at > REFRESH_SECONDS:
                    await self._read()
        if key_id not in self._keys:
            raise InvalidKey("The Entra token is signed by an unknown key.")
        return self._keys[key_id]

    async def _read(self) -> None:
        import jwt

        self._read_at = clock.monotonic()
        source = self._settings.jwks or ""
        if "://" in source:
            raw = await _fetch(source)
        else:
            raw = await asyncio.to_thread(_read_file, source)
        keys = msgspec.json.decode(raw, type=dict[str, Any]).get("keys", [])
        self._keys = {str(key["kid"]): jwt.PyJWK(key).key for key in keys if "kid" in key}


def _read_file(path: str) -> bytes:
    return Path(path).expanduser().read_bytes()


async def _fetch(url: str) -> bytes:
    """The key set over https. Raises errors of the upstream client."""
    scheme, _, rest = url.partition("://")
    host, slash, path = rest.partition("/")
    client = Client(f"{scheme}://{host}")
    try:
        response = await client.request("GET", slash + path)
        if response.status != 200:
            raise InvalidKey("The Entra key set cannot be read.")
        return await response.read(LARGEST_KEY_SET)
    finally:
        await client.close()
