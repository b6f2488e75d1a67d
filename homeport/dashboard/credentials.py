"""Whose key a request of the dashboard goes out with."""

from dataclasses import dataclass, replace

from homeport.control.sessions import Session
from homeport.errors import InvalidKey
from homeport.gateway.keyring import Keyring, Principal

#: What only admin keys may ask for; the rest is the API's.
_CONTROL = ("/v1/organization", "/v1/homeport", "/v1/fine_tuning/checkpoints/")
#: Of ours, what projects own.
_OWNED = ("/v1/homeport/threads", "/v1/homeport/runs")


@dataclass(frozen=True, slots=True)
class Who:
    """Of whom the session is. token: the cookie. project, admin: whom the API, and the Admin API, take it for."""

    token: str
    session: Session
    project: Principal | None
    admin: Principal | None


class Credentials:
    def __init__(self, keyring: Keyring) -> None:
        self._keyring = keyring

    def who(self, token: str, session: Session) -> Who | None:
        """None: no key of the session holds any more. Raises Unavailable."""
        project, admin = self._holder(session.project), self._holder(session.admin)
        if project is None and admin is None:
            return None
        held = replace(
            session,
            project=session.project if project is not None else None,
            admin=session.admin if admin is not None else None,
        )
        return Who(token, held, project, admin)

    def bearer(self, session: Session, path: str) -> bytes:
        """For `/v1/...`: the admin key where an admin key is needed, else the project's; the other, if there is one
        only, so that the API says what is missing."""
        chosen = (session.project, session.admin)
        control = path.startswith(_CONTROL) and not path.startswith(_OWNED)
        key = next(one for one in (chosen[::-1] if control else chosen) if one is not None)
        return b"Bearer " + self._keyring.ticket(key)

    def _holder(self, key_hash: bytes | None) -> Principal | None:
        if key_hash is None:
            return None
        try:
            return self._keyring.anybody(self._keyring.ticket(key_hash))
        except InvalidKey:
            return None
