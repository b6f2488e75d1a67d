"""Models. Source: Model and ListModelsResponse."""

from typing import Literal

from msgspec import Struct


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
