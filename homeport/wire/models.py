"""Models. Source: Model and ListModelsResponse."""

import re
from functools import lru_cache
from typing import Literal

from msgspec import Struct

_DATE = re.compile(r"-(\d{4}-\d{2}-\d{2}|\d{4})$")


@lru_cache(maxsize=1024)
def family(model: str) -> str:
    """Dated snapshots share their model's limits: gpt-4o-2024-08-06 -> gpt-4o, gpt-4-0613 -> gpt-4."""
    return _DATE.sub("", model)


class Model(Struct):
    """created: unix seconds. root: what really runs under this name (not in the description; vLLM has it, too)."""

    id: str
    created: int
    owned_by: str
    root: str
    object: Literal["model"] = "model"


class ModelList(Struct):
    data: list[Model]
    object: Literal["list"] = "list"
