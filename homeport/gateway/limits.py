"""Rate limits: OpenAI's arithmetic, continuous refill, in this process.

A bucket of `limit` a minute gives back `limit / 60` every second. A request that would overflow it waits
`(used + requested - limit) / (limit / period)` seconds, which is what the published messages of OpenAI say to the last
digit. Requests and tokens are charged together or not at all.
"""

import re
from functools import lru_cache

from homeport import clock
from homeport.errors import RateLimited
from homeport.gateway.keyring import Principal

PERIOD = 60.0
#: Buckets that nobody used for this long are full again and are forgotten.
_FORGET_AFTER = 2 * PERIOD
_DATE = re.compile(r"-(\d{4}-\d{2}-\d{2}|\d{4})$")


class Bucket:
    """What is used of one limit."""

    __slots__ = ("at", "limit", "rate", "used")

    def __init__(self, limit: int, now: float) -> None:
        self.limit = limit
        self.rate = limit / PERIOD
        self.used = 0.0
        self.at = now

    def refill(self, now: float) -> None:
        self.used = max(0.0, self.used - (now - self.at) * self.rate)
        self.at = now

    def wait(self, requested: float) -> float:
        """Seconds until `requested` fits; 0 or less when it fits now."""
        return (self.used + requested - self.limit) / self.rate

    @property
    def remaining(self) -> int:
        return max(0, int(self.limit - self.used + 1e-9))

    @property
    def reset(self) -> float:
        """Seconds until the bucket is as if never used."""
        return self.used / self.rate


class Grant:
    """What was reserved for one request; on leaving, what it did not take is given back.

    used: tokens that it really took, set by the ledger; None keeps the reservation.
    """

    __slots__ = ("_bucket", "_strict", "tokens", "used")

    def __init__(self, tokens: int, bucket: Bucket | None, *, strict: bool) -> None:
        self.tokens = tokens
        self.used: int | None = None
        self._bucket = bucket
        self._strict = strict

    def __enter__(self) -> "Grant":
        return self

    def __exit__(self, *_: object) -> None:
        bucket = self._bucket
        if bucket is not None and self.used is not None and not self._strict:
            bucket.used = max(0.0, bucket.used + self.used - self.tokens)


class Limits:
    def __init__(self, *, requests_per_minute: int, tokens_per_minute: int, strict: bool = False) -> None:
        self._rpm = requests_per_minute
        self._tpm = tokens_per_minute
        self._strict = strict
        self._buckets: dict[tuple[str, str], tuple[Bucket | None, Bucket | None]] = {}
        self._swept = clock.monotonic()

    def admit(self, principal: Principal, model: str, tokens: int, told: list[bytes]) -> Grant:
        """Charge one request and `tokens`, or raise RateLimited (429). Adds the `x-ratelimit-*` lines to `told`."""
        now = clock.monotonic()
        requests, spending = self._of(principal, family(model), now)
        for bucket, kind, requested in ((requests, "requests", 1), (spending, "tokens", tokens)):
            if bucket is not None and bucket.wait(requested) > 1e-9:
                told.append(_lines(requests, spending, refused_by=bucket if requested <= bucket.limit else None))
                raise _refusal(bucket, kind, requested, model, principal)
        if requests is not None:
            requests.used += 1
        if spending is not None:
            spending.used += tokens
        told.append(_lines(requests, spending))
        return Grant(tokens, spending, strict=self._strict)

    def _of(self, principal: Principal, model: str, now: float) -> tuple[Bucket | None, Bucket | None]:
        if now - self._swept > _FORGET_AFTER:
            self._sweep(now)
        key = (principal.key_id, model)
        pair = self._buckets.get(key)
        if pair is None:
            pair = self._buckets[key] = (
                Bucket(self._rpm, now) if self._rpm else None,
                Bucket(self._tpm, now) if self._tpm else None,
            )
        for bucket in pair:
            if bucket is not None:
                bucket.refill(now)
        return pair

    def _sweep(self, now: float) -> None:
        """Memory stays bounded by what was used in the last minutes, whatever names clients make up."""
        self._swept = now
        for key, pair in list(self._buckets.items()):
            if all(bucket is None or now - bucket.at > _FORGET_AFTER for bucket in pair):
                del self._buckets[key]


@lru_cache(maxsize=1024)
def family(model: str) -> str:
    """Dated snapshots share their model's limits: gpt-4o-2024-08-06 -> gpt-4o, gpt-4-0613 -> gpt-4."""
    return _DATE.sub("", model)


def duration(seconds: float) -> str:
    """A Go duration, as the reset headers are written: `0s`, `120ms`, `1s`, `1m26.4s`, `6m0s`, `1h0m0s`."""
    milliseconds = round(seconds * 1000)
    if milliseconds < 1000:
        return f"{milliseconds}ms" if milliseconds else "0s"
    if milliseconds < 60_000:
        return f"{milliseconds / 1000:g}s"
    minutes, rest = divmod(milliseconds, 60_000)
    hours, minutes = divmod(minutes, 60)
    text = f"{rest / 1000:g}s" if rest % 1000 else f"{rest // 1000}s"
    if hours:
        return f"{hours}h{minutes}m{text}"
    return f"{minutes}m{text}" if minutes else text


def _lines(requests: Bucket | None, tokens: Bucket | None, *, refused_by: Bucket | None = None) -> bytes:
    """The header lines of both limits; a limit that is not set has none, and one that is used up has 0 left."""
    return (_bucket_lines(requests, b"requests", requests is refused_by) if requests else b"") + (
        _bucket_lines(tokens, b"tokens", tokens is refused_by) if tokens else b""
    )


def _bucket_lines(bucket: Bucket, kind: bytes, refuses: bool) -> bytes:
    return b"x-ratelimit-limit-%b: %d\r\nx-ratelimit-remaining-%b: %d\r\nx-ratelimit-reset-%b: %b\r\n" % (
        kind,
        bucket.limit,
        kind,
        0 if refuses else bucket.remaining,
        kind,
        duration(bucket.reset).encode(),
    )


def _refusal(bucket: Bucket, kind: str, requested: int, model: str, principal: Principal) -> RateLimited:
    name = "requests per min (RPM)" if kind == "requests" else "tokens per min (TPM)"
    where = f"for {model} in organization {principal.organization} on {name}"
    if requested > bucket.limit:
        return RateLimited(
            f"Request too large {where}: Limit {bucket.limit}, Requested {requested}. The input or output tokens must "
            "be reduced in order to run successfully.",
            kind=kind,
        )
    wait = bucket.wait(requested)
    return RateLimited(
        f"Rate limit reached {where}: Limit {bucket.limit}, Used {round(bucket.used)}, Requested {requested}. "
        f"Please try again in {duration(wait)}.",
        kind=kind,
        headers=(("retry-after", str(max(1, -int(-wait // 1)))), ("retry-after-ms", str(max(1, round(wait * 1000))))),
    )
