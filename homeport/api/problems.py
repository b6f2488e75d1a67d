"""What does not work, in plain sentences: told by how the server is, with what helps where that is known."""

from collections.abc import Iterator, Mapping

from homeport.wire.status import Problem, Status

#: Below this the disk is soon full.
LITTLE_BYTES = 10**9
#: Seconds that a job waits that could be begun, and nobody works on its lane.
LONG_SECONDS = 120.0
_AWAY = {
    "database": "The database does not answer. Known keys go on for a while; nothing can be changed.",
    "ledger": "The ledger's database does not answer. Requests are recorded on this machine until it is back.",
    "redis": "Redis does not answer.",
}


def found(status: Status, not_ready: Mapping[str, str]) -> list[Problem]:
    """not_ready: why requests are refused: what /readyz says."""
    told = [Problem("server", name, message) for name, message in not_ready.items() if name != "models"]
    return [*told, *_models(status), *_upstreams(status), *_stores(status, not_ready), *_others(status)]


def _models(status: Status) -> Iterator[Problem]:
    """One that was never pulled is missed by those who ask for it alone."""
    for model in status.models:
        if model.state in ("loading", "failed"):
            yield Problem("model", model.id, model.reason or f"The model `{model.id}` is not ready.")


def _upstreams(status: Status) -> Iterator[Problem]:
    for upstream in status.upstreams:
        if upstream.state == "down":
            yield Problem("upstream", upstream.name, f"The upstream {upstream.name} does not answer as it should.")
        elif upstream.state == "cooling":
            yield Problem("upstream", upstream.name, f"The upstream {upstream.name} is left alone for some requests.")


def _stores(status: Status, not_ready: Mapping[str, str]) -> Iterator[Problem]:
    for store in status.stores:
        if not store.up and store.name not in not_ready:
            yield Problem("store", store.name, _AWAY[store.name])


def _others(status: Status) -> Iterator[Problem]:
    for lane in status.lanes or ():
        if lane.waiting and not lane.running and lane.oldest_seconds > LONG_SECONDS:
            yield Problem("lane", lane.lane, f"Nobody works on the jobs of the lane {lane.lane}.")
    if status.disk is not None and status.disk.free_bytes < LITTLE_BYTES:
        yield Problem("disk", "data", "The disk of the data folder is almost full.")
    for name in status.server.not_told:
        yield Problem("process", name, f"The process {name} does not say how it is.")
