"""Models. Source: Model and ListModelsResponse."""

import re
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Literal

from msgspec import UNSET, Struct, UnsetType

_DATE = re.compile(r"-(\d{4}-\d{2}-\d{2}|\d{4})$")


@lru_cache(maxsize=1024)
def family(model: str) -> str:
    """Dated snapshots share their model's limits: gpt-4o-2024-08-06 -> gpt-4o, gpt-4-0613 -> gpt-4."""
    return _DATE.sub("", model)


def made_from(model: str) -> str | None:
    """Of a fine-tuned model what it was made from: OpenAI's `ft:MODEL:ORGANIZATION:SUFFIX:ID`, Azure's `MODEL.ft-ID`.
    None: by its name it is none."""
    if model.startswith("ft:"):
        return model.split(":")[1] or None
    base, mark, _ = model.partition(".ft-")
    return base if mark and base else None


class Model(Struct):
    """created: unix seconds. Not in the description: root (vLLM has it, too), what really runs under this name; voices,
    of a model of this machine that speaks, which of its own is heard under each of OpenAI's names: where there is one
    only, they all sound alike; description, of one whose name alone would promise something else; capabilities, of a
    model of this machine, what it can be asked for (the column of docs/compatibility.md), and state, whether
    now, and the reason why not."""

    id: str
    created: int
    owned_by: str
    root: str
    voices: Mapping[str, str] | UnsetType = UNSET
    description: str | UnsetType = UNSET
    capabilities: Sequence[str] | UnsetType = UNSET
    state: Literal["missing", "loading", "ready", "failed"] | UnsetType = UNSET
    reason: str | UnsetType = UNSET
    object: Literal["model"] = "model"


class ModelList(Struct):
    data: list[Model]
    object: Literal["list"] = "list"
