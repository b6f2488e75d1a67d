"""Which models a page offers, of those that `/v1/models` lists."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

Model = Mapping[str, Any]


class Offered(NamedTuple):
    """here: of this machine, which say what they can do; names that lead to others behind those. others: of upstreams,
    of which nobody knows it; those that sound like it first."""

    here: Sequence[Model]
    others: Sequence[Model]


def offered(listed: Sequence[Model], capability: str, *, like: Sequence[str] = ()) -> Offered:
    """capability: as `/v1/models` tells it (`chat`). like: parts of names of such models."""
    here = [model for model in listed if capability in model.get("capabilities", ())]
    others = [model for model in listed if "capabilities" not in model]
    return Offered(
        sorted(here, key=lambda model: bool(model["root"] != model["id"])),
        sorted(others, key=lambda model: not any(part in model["id"].lower() for part in like)),
    )
