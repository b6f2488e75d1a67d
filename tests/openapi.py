"""OpenAI's description as a referee: `validate("CreateChatCompletionResponse", answer)`.

It is looked for at HOMEPORT_OPENAPI or in ../shared/openai-openapi beside this checkout; without it the tests that need
it skip. Reading its YAML takes seconds, so a JSON copy is kept in the temporary folder.
"""

import hashlib
import json
import os
import tempfile
from functools import lru_cache
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from referencing import Registry, Resource
from referencing.jsonschema import DRAFT202012

NEWEST = "openapi-2026-08-21.yaml"
OF_2024 = "openapi-2024-12-18.yaml"

#: Of a batch, what has not come, or is not there: null in the description's own examples.
_OF_BATCHES = (
    *("errors", "output_file_id", "error_file_id", "in_progress_at", "finalizing_at", "completed_at", "failed_at"),
    *("expired_at", "cancelling_at", "cancelled_at"),
)
#: Of a vector store without an end, and of a list without anything in it.
_OF_STORES = ("expires_after", "expires_at", "first_id", "last_id")
#: Where the description is narrower than the service. Schema -> members that may be null or absent all the same.
NARROWER = {
    "Batch": _OF_BATCHES,
    "ListBatchesResponse": (*_OF_BATCHES, "first_id", "last_id"),
    "CreateCompletionResponse": ("finish_reason", "logprobs"),
    "ListAssistantsResponse": ("first_id", "last_id"),
    "ListFineTuningJobEventsResponse": ("data",),
    "ListFilesResponse": ("expires_at", "first_id", "last_id", "status_details"),
    "ListMessagesResponse": ("first_id", "last_id"),
    "ListVectorStoreFilesResponse": ("first_id", "last_id"),
    "ListVectorStoresResponse": _OF_STORES,
    "OpenAIFile": ("expires_at", "status_details"),
    "Response": ("usage",),  # null in the description's own examples
    "ResponseCreatedEvent": ("usage",),
    "ResponseFailedEvent": ("usage",),
    "ResponseInProgressEvent": ("usage",),
    "ResponseQueuedEvent": ("usage",),
    "VectorStoreObject": _OF_STORES,
}


def folder() -> Path:
    return Path(os.environ.get("HOMEPORT_OPENAPI") or Path(__file__).parents[2] / "shared" / "openai-openapi")


@lru_cache
def description(name: str = NEWEST) -> dict[str, Any]:
    """The whole document. Skips the test when it is not there."""
    path = folder() / name
    if not path.exists():
        pytest.skip(f"OpenAI's description is not at {folder()}; set HOMEPORT_OPENAPI")
    raw = path.read_bytes()
    copy = Path(tempfile.gettempdir()) / f"homeport-openapi-3.1-{hashlib.sha256(raw).hexdigest()[:16]}.json"
    if not copy.exists():
        document = _as_json_schema(yaml.load(raw, Loader=yaml.CSafeLoader))
        partial = copy.with_suffix(f".{os.getpid()}")
        partial.write_text(json.dumps(document, default=str))
        partial.replace(copy)
    found: dict[str, Any] = json.loads(copy.read_bytes())
    return found


def properties(schema: str, name: str = NEWEST) -> set[str]:
    """The names of a schema's members, those of its allOf included."""
    schemas = description(name)["components"]["schemas"]

    def of(one: dict[str, Any]) -> set[str]:
        if "$ref" in one:
            return of(schemas[one["$ref"].rpartition("/")[2]])
        return set(one.get("properties", ())).union(*(of(part) for part in one.get("allOf", ())))

    return of(schemas[schema])


def validate(schema: str, instance: Any, name: str = NEWEST) -> None:
    """Raises jsonschema.ValidationError when the instance is not what the description says."""
    validator = _validator(schema, name)
    errors = [error for error in validator.iter_errors(instance) if not _narrower(schema, error)]
    if errors:
        raise errors[0]


@lru_cache
def _validator(schema: str, name: str) -> jsonschema.Draft202012Validator:
    document = description(name)
    resource = Resource.from_contents(document, default_specification=DRAFT202012)
    registry: Registry[Any] = Registry().with_resource("urn:openai", resource)
    return jsonschema.Draft202012Validator({"$ref": f"urn:openai#/components/schemas/{schema}"}, registry=registry)


def _narrower(schema: str, error: jsonschema.ValidationError) -> bool:
    last = error.absolute_path[-1] if error.absolute_path else None
    return last in NARROWER.get(schema, ()) and error.instance is None


def _as_json_schema(node: Any) -> Any:
    """OpenAPI 3.0's `nullable: true` and `exclusiveMinimum: true` as JSON Schema says them."""
    if isinstance(node, list):
        return [_as_json_schema(item) for item in node]
    if not isinstance(node, dict):
        return node
    made = {key: _as_json_schema(value) for key, value in node.items() if key != "nullable"}
    if made.get("exclusiveMinimum") is True:
        made["exclusiveMinimum"] = made.pop("minimum")
    if node.get("nullable") is True and ("type" in made or "$ref" in made or "allOf" in made or "oneOf" in made):
        return {"anyOf": [made, {"type": "null"}]}
    return made
