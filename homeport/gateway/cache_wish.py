"""How a request wants the cache used: `x-homeport-cache`, and the directives of `Cache-Control` (RFC 9111, 5.2.1).

x-homeport-cache: on        use it, where the settings let a request decide
                  off       ask anew, and keep nothing
                  refresh   ask anew, and keep the answer
                  exact     no answer to a question that only means the same
cache-control:    no-store  as off
                  no-cache  as refresh
                  max-age=N as on, with answers that are N seconds old at most; 0 is refresh
                  only-if-cached  as on; without an answer 504
"""

from functools import lru_cache
from typing import NamedTuple

from homeport.errors import InvalidRequest
from homeport.gateway.flights import Found

_VALUES = ("on", "off", "refresh", "exact")
_FOREVER = float("inf")


class Wish(NamedTuple):
    """on: the cache is asked for. read: a kept answer will do; write: this one may be kept. max_age: seconds.
    only: ask nobody. alike: an answer to a question that means the same will do."""

    on: bool = False
    read: bool = True
    write: bool = True
    max_age: float = _FOREVER
    only: bool = False
    alike: bool = True

    def takes(self, found: Found) -> bool:
        return found.age <= self.max_age and (self.alike or not found.alike)


#: Of a request that says nothing.
NO_WISH = Wish()


@lru_cache(maxsize=256)
def wish(ours: bytes, standard: bytes) -> Wish:
    """ours: the value of `x-homeport-cache`; standard: of `Cache-Control`. Empty where there is none.

    Raises InvalidRequest: no such value of ours. Directives that are not known are passed over, as the RFC wants.
    """
    said = ours.decode("latin-1").strip().lower()
    if said and said not in _VALUES:
        raise InvalidRequest(
            f"Invalid 'x-homeport-cache' header: {said[:40]!r}. Supported values are: {', '.join(map(repr, _VALUES))}.",
            code="invalid_value",
        )
    directives = {
        name.strip().lower(): value.strip().strip('"')
        for name, _, value in (one.partition("=") for one in standard.decode("latin-1").split(","))
    }
    max_age = _seconds(directives.get("max-age"))
    off = said == "off" or (not said and "no-store" in directives)
    refresh = said == "refresh" or "no-cache" in directives or max_age == 0
    only = "only-if-cached" in directives
    return Wish(
        on=not off and (said in ("on", "refresh", "exact") or only or 0 < max_age < _FOREVER),
        read=not off and not refresh,
        write=not off,
        max_age=max_age,
        only=only,
        alike=said != "exact",
    )


def _seconds(value: str | None) -> float:
    """What is no whole number is no limit."""
    return int(value) if value is not None and value.isascii() and value.isdecimal() and len(value) < 12 else _FOREVER
