"""Who is calling, and what they may do: a key is looked up by its hash in the snapshot of the stored keys."""

import hashlib
import hmac
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Literal

from homeport import clock
from homeport.errors import InvalidKey, MissingKey, PermissionDenied
from homeport.wire.models import made_from

if TYPE_CHECKING:
    from homeport.gateway.accounts import Snapshot
    from homeport.gateway.tiers import RateLimits

_HELP = "You can find your API key where Homeport was first started, or make one with `homeport keys create`."
_MISSING = (
    "You didn't provide an API key. You need to provide your API key in an Authorization header using Bearer auth "
    "(i.e. Authorization: Bearer YOUR_KEY), or as the password field (with blank username) if you're accessing the API "
    f"from your browser and are prompted for a username and password. {_HELP}"
)

#: What begins so stands for a key, in this process.
_TICKET = b"ticket-"

#: What a key may be good for: the API, the Admin API, or (the operator's own) both.
Kind = Literal["project", "admin", "owner"]


@dataclass(frozen=True, slots=True)
class Models:
    """Which models may be used: what the project's list (`project.model_permissions`) and the key's own admit."""

    allowed: frozenset[str] | None = None
    denied: frozenset[str] = frozenset()
    own: frozenset[str] | None = None

    @classmethod
    def of(cls, permissions: Mapping[str, Any] | None, own: list[str] | None) -> "Models":
        """permissions: the project's `{"mode", "model_ids"}`; own: the key's list. None: everything."""
        mode = permissions["mode"] if permissions else None
        listed = frozenset(permissions["model_ids"] if permissions else ())
        return cls(
            allowed=listed if mode == "allow_list" else None,
            denied=listed if mode == "deny_list" else frozenset(),
            own=None if own is None else frozenset(own),
        )

    def admit(self, model: str) -> bool:
        """A fine-tuned model is admitted, and denied, by its own name and by that of what it was made from; a
        checkpoint also by that of the finished one."""
        base = made_from(model)
        names = (model,) if base is None else (model, model.partition(":ckpt-step-")[0], base)
        return (
            (self.allowed is None or not self.allowed.isdisjoint(names))
            and self.denied.isdisjoint(names)
            and (self.own is None or not self.own.isdisjoint(names))
        )


#: Everything.
ALL_MODELS = Models()


@dataclass(frozen=True, slots=True)
class Budget:
    """Money that may be spent. scope: organization, project or key; subject: its id; interval: month or total."""

    scope: str
    subject: str
    interval: str
    limit_nano: int

    def counter(self, now: float) -> str:
        """The name of what counts it; another one each month (UTC)."""
        return f"money:{self.scope}:{self.subject}:{month(now) if self.interval == 'month' else 'total'}"


@dataclass(frozen=True, slots=True)
class Screening:
    """What of a project's chats and completions is moderated. model: by which. threshold: the score from which on a
    category is flagged; None: where the model says so."""

    model: str
    input: bool
    output: bool
    threshold: float | None = None

    @classmethod
    def of(cls, own: Mapping[str, Any] | None, default: "Screening | None") -> "Screening | None":
        """own: the project's, as it is stored; None: it has none. Nothing is moderated where None comes back."""
        chosen = cls(**own) if own is not None else default
        return chosen if chosen is not None and (chosen.input or chosen.output) else None


@dataclass(frozen=True, slots=True, eq=False)
class Principal:
    """On whose account a request runs. Batches and runs keep the key's id and look it up again.

    Equal only to itself: a changed snapshot has new ones, so what is remembered of one is never stale.
    """

    key_id: str
    project: str
    organization: str
    user: str = ""
    email: str = ""
    kind: Kind = "project"
    tier: str = "home"
    scopes: frozenset[str] | None = None
    models: Models = ALL_MODELS
    rate_limits: "Mapping[str, RateLimits]" = field(default_factory=dict)
    own_limits: "RateLimits | None" = None
    budgets: tuple[Budget, ...] = ()
    expires_at: int | None = None
    screening: Screening | None = None

    def may(self, scope: str) -> None:
        """Raises PermissionDenied (403). `all` stands for every scope."""
        if self.scopes is None or scope in self.scopes or "all" in self.scopes:
            return
        raise PermissionDenied(
            f"You have insufficient permissions for this operation. Missing scopes: {scope}. Check that your API key "
            "has the necessary scopes.",
            code="missing_scope",
        )

    def may_use(self, model: str) -> None:
        """Raises PermissionDenied (403)."""
        if self.models is not ALL_MODELS and not self.models.admit(model):
            raise PermissionDenied(
                f"Project `{self.project}` does not have access to model `{model}`.", code="model_not_found"
            )


class Keyring:
    def __init__(self, snapshot: "Callable[[], Snapshot]") -> None:
        """snapshot: the newest one; raises Unavailable when it cannot be relied on. So does every look-up here."""
        self._snapshot = snapshot
        self._ticket_secret = secrets.token_bytes(32)

    def principal(self, secret: bytes | None) -> Principal:
        """Whoever may use the API. Raises InvalidKey: 401, with the key masked in the message."""
        found = self._find(secret)
        if found.kind == "admin":
            raise InvalidKey("This is an admin API key. Use a project's API key for this endpoint.")
        return found

    def administrator(self, secret: bytes | None) -> Principal:
        """Whoever may use the Admin API. Raises InvalidKey (401), PermissionDenied (403)."""
        found = self._find(secret)
        if found.kind == "project":
            raise PermissionDenied(
                "You have insufficient permissions for this operation. Missing scopes: api.management.read. Use an "
                "admin API key: `homeport keys create --admin`.",
                code="missing_scope",
            )
        return found

    def anybody(self, secret: bytes | None) -> Principal:
        """A key of any kind. Raises InvalidKey (401)."""
        return self._find(secret)

    def ticket(self, key_hash: bytes) -> bytes:
        """In place of a key whose SHA-256 is all that is known (a session of the dashboard): as good as the key, and as
        long, in this process alone."""
        return _TICKET + key_hash.hex().encode() + self._seal(key_hash)

    def _seal(self, key_hash: bytes) -> bytes:
        return hmac.digest(self._ticket_secret, key_hash, "sha256").hex().encode()

    def _of_ticket(self, secret: bytes) -> Principal | None:
        hexadecimal = secret[len(_TICKET) :]
        try:
            key_hash = bytes.fromhex(hexadecimal[:64].decode("ascii"))
        except ValueError:
            return None
        if not hmac.compare_digest(hexadecimal[64:], self._seal(key_hash)):
            return None
        return self._snapshot().by_hash.get(key_hash)

    def by_id(self, key_id: str) -> Principal | None:
        """For work that goes on without its key (a batch): None once the key was revoked."""
        return self._snapshot().by_id.get(key_id)

    def _find(self, secret: bytes | None) -> Principal:
        """The time of the look-up tells nothing about stored keys: what is compared is a SHA-256."""
        if not secret:
            raise MissingKey(_MISSING)
        found = self._snapshot().by_hash.get(hashlib.sha256(secret).digest())
        if found is None and secret.startswith(_TICKET):
            found = self._of_ticket(secret)
        if found is None:
            raise InvalidKey(f"Incorrect API key provided: {masked(secret)}. {_HELP}")
        if found.expires_at is not None and found.expires_at <= clock.now():
            raise InvalidKey(f"The API key {masked(secret)} has expired. {_HELP}")
        return found


def masked(secret: bytes) -> str:
    """`sk-a***yz`: four characters and two, and nothing of a short key."""
    text = secret.decode("ascii", "replace")
    return f"{text[:4]}{'*' * min(len(text) - 6, 24)}{text[-2:]}" if len(text) >= 12 else "***"


def month(now: float) -> str:
    """`2026-11`, in UTC."""
    return _month(int(now) // 3600)


@lru_cache(maxsize=4)
def _month(hour: int) -> str:
    return datetime.fromtimestamp(hour * 3600, UTC).strftime("%Y-%m")
