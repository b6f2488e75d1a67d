"""What may be shown of an API key, and what may be one."""

from homeport.errors import SettingsError

#: A preset key (HOMEPORT_API_KEY) must be long enough not to be guessed.
SHORTEST = 16


def redacted(secret: str) -> str:
    """`sk-homeport-ab...yz`: enough to recognise a key, not enough to use it."""
    return f"{secret[:14]}...{secret[-2:]}" if len(secret) >= 24 else f"{secret[:3]}...{secret[-2:]}"


def check_preset(secret: str) -> None:
    """Raises SettingsError."""
    if len(secret) < SHORTEST or not secret.isascii() or not secret.isprintable():
        raise SettingsError(f"HOMEPORT_API_KEY must be at least {SHORTEST} printable ASCII characters.")
    if secret != secret.strip():
        raise SettingsError("HOMEPORT_API_KEY must not begin or end with a blank.")
