"""What may be shown of an API key, what may be one, and how many there are."""

import sqlalchemy as sa

from homeport.errors import SettingsError
from homeport.store.database import Database
from homeport.store.tables import keys

#: A preset key (HOMEPORT_API_KEY, HOMEPORT_ADMIN_KEY) must be long enough not to be guessed.
SHORTEST = 16


def redacted(secret: str) -> str:
    """`sk-homeport-ab...yz`: enough to recognise a key, not enough to use it."""
    return f"{secret[:14]}...{secret[-2:]}" if len(secret) >= 24 else f"{secret[:3]}...{secret[-2:]}"


def check_preset(variable: str, secret: str) -> None:
    """Raises SettingsError."""
    if len(secret) < SHORTEST or not secret.isascii() or not secret.isprintable():
        raise SettingsError(f"{variable} must be at least {SHORTEST} printable ASCII characters.")
    if secret != secret.strip():
        raise SettingsError(f"{variable} must not begin or end with a blank.")


async def count(database: Database) -> int:
    async with database.read() as connection:
        return int(await connection.scalar(sa.select(sa.func.count()).select_from(keys)) or 0)
