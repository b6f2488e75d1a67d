"""One entry for each admitted request: opened at admission, closed exactly once, whatever happened."""

from homeport import clock
from homeport.backends.capabilities import Call, Frame, Usage
from homeport.errors import HomeportError, UpstreamRefused
from homeport.gateway.keyring import Principal
from homeport.gateway.limits import Grant
from homeport.gateway.routing import Target
from homeport.store.usage import UsageLog, UsageRow


class Entry:
    """What is known of a request while it runs."""

    __slots__ = ("_ledger", "call", "first_at", "grant", "principal", "ran", "started", "started_at", "target", "usage")

    def __init__(self, ledger: "Ledger", principal: Principal, call: Call, grant: Grant) -> None:
        self._ledger = ledger
        self.principal = principal
        self.call = call
        self.grant = grant
        self.started_at = clock.now()
        self.started = clock.monotonic()
        self.first_at: float | None = None
        self.target: Target | None = None
        self.ran: str | None = None
        self.usage: Usage | None = None

    def __enter__(self) -> "Entry":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: object) -> None:
        """completed; failed, with the status that the client saw or would have; left: the client went, which arrives as
        a closed generator or as a cancellation."""
        if error is None:
            self._ledger.close(self, "completed", 200)
        elif isinstance(error, UpstreamRefused):
            self._ledger.close(self, "failed", error.upstream_status)
        elif isinstance(error, HomeportError):
            self._ledger.close(self, "failed", error.status)
        elif isinstance(error, Exception):
            self._ledger.close(self, "failed", 500)
        else:
            self._ledger.close(self, "left", 499)

    def observe(self, frame: Frame) -> None:
        if self.first_at is None:
            self.first_at = clock.monotonic()
        if frame.usage is not None:
            self.usage = frame.usage
        if frame.model is not None:
            self.ran = frame.model


class Ledger:
    def __init__(self, log: UsageLog) -> None:
        self._log = log

    def entry(self, principal: Principal, call: Call, grant: Grant) -> "Entry":
        """Open an entry; leaving its `with` block closes it."""
        return Entry(self, principal, call, grant)

    def close(self, entry: Entry, outcome: str, status: int) -> None:
        usage = entry.usage or Usage(0, 0)
        if entry.usage is not None or entry.first_at is None:
            entry.grant.used = usage.prompt + usage.completion
        ended = clock.monotonic()
        first = entry.first_at if entry.first_at is not None else ended
        call, target = entry.call, entry.target
        self._log.put(
            UsageRow(
                request_id=call.request_id,
                started_at=entry.started_at,
                key_id=entry.principal.key_id,
                project=entry.principal.project,
                endpoint=call.endpoint,
                model=call.name,
                ran=entry.ran or call.model,
                backend=target.name if target is not None else "",
                stream=int(call.stream),
                status=status,
                outcome=outcome,
                prompt_tokens=usage.prompt,
                completion_tokens=usage.completion,
                cached_tokens=usage.cached,
                first_ms=round((first - entry.started) * 1000),
                total_ms=round((ended - entry.started) * 1000),
            )
        )
