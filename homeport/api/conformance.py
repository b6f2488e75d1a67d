"""`GET /v1/homeport/conformance`: every operation of OpenAI's API, and ours, with what is honoured and what is not.

Nothing is claimed here: which operations there are is read off the routes that answer, their parameters off what
decodes them, and what becomes of a parameter off the tables that refuse it. What OpenAI has besides is in
operations.toml. docs/compatibility.md and the dashboard's page show the same.
"""

import re
import tomllib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cache
from importlib import resources
from typing import Any, Literal, NamedTuple, get_args

import msgspec
from msgspec import Struct
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from homeport import __version__
from homeport.api import operations
from homeport.api.json import json_answer
from homeport.api.openai import bearer_of
from homeport.backends.local import parameters
from homeport.control.fine_tuning import LOCAL_REFUSES
from homeport.control.usage_pages import PAGES
from homeport.gateway.endpoints import ENDPOINTS, RESPONSES, Endpoint
from homeport.gateway.keyring import Keyring
from homeport.loop import responding
from homeport.wire import assistants, audio, responses, runs
from homeport.wire.admin_usage import CostsParameters, ModelParameters
from homeport.wire.chat import CreateChatCompletionRequest
from homeport.wire.completions import CreateCompletionRequest
from homeport.wire.embeddings import CreateEmbeddingRequest
from homeport.wire.fine_tuning import CreateFineTuningJobRequest
from homeport.wire.images import CreateImageEditRequest, CreateImageRequest, CreateImageVariationRequest
from homeport.wire.limits import LimitsParameters
from homeport.wire.moderations import CreateModerationRequest
from homeport.wire.requests import RequestsParameters

#: `passed on`: an upstream gets it as it came, and says itself what it makes of it. `not here`: 404.
Verdict = Literal["honoured", "no effect", "refused", "passed on", "not here"]
Key = Literal["project", "admin", "any", "none"]
Place = Literal["path", "query", "body", "form"]

#: The resource of what OpenAI has no word for.
OURS = "Homeport"
_HTTP = ("GET", "POST", "DELETE")


class Support(Struct, omit_defaults=True):
    """What becomes of a parameter. note: how it is honoured, or why not, and what to do instead. code: of the error."""

    verdict: Verdict
    note: str = ""
    code: str | None = None


class Parameter(Struct, rename={"place": "in"}):
    """support: by who answers: `local` models and `upstream`s, or `homeport` itself."""

    name: str
    place: Place
    required: bool
    support: Mapping[str, Support]


class Shown(Struct):
    """An operation. name: OpenAI's; None: it is not theirs. supported: it is here. why: it is not. key: that it needs.
    scope: of the key, where it is restricted. azure: its path in Azure's style. capability: of a model that answers
    it. streams: its answers can be events. batch: lines of batches may be of it. beta: what `OpenAI-Beta` must say."""

    method: str
    path: str
    name: str | None
    resource: str
    supported: bool
    why: str | None = None
    key: Key | None = None
    scope: str | None = None
    azure: str | None = None
    capability: str | None = None
    streams: bool = False
    batch: bool = False
    beta: str | None = None
    parameters: Sequence[Parameter] = ()


class Tool(Struct):
    """type: of `tools`. hosted: models call it and the server does it; else the client does."""

    type: str
    supported: bool
    hosted: bool
    where: Sequence[str]


class Conformance:
    def __init__(self, keyring: Keyring) -> None:
        self._keyring = keyring
        self._shown: Mapping[str, Any] | None = None

    async def show(self, request: Request) -> Response:
        """For a key of any kind. Raises InvalidKey."""
        self._keyring.anybody(bearer_of(request))
        if self._shown is None:
            self._shown = report(request.scope["router"].routes)
        return json_answer(self._shown)


def routes(keyring: Keyring) -> Sequence[BaseRoute]:
    return [Route("/v1/homeport/conformance", Conformance(keyring).show, methods=["GET"])]


def report(routes: Iterable[BaseRoute]) -> Mapping[str, Any]:
    shown = catalogue(routes)
    return {
        "object": "homeport.conformance",
        "version": __version__,
        "counts": counts(shown),
        "operations": shown,
        "tools": tools(),
    }


def catalogue(routes: Iterable[BaseRoute]) -> list[Shown]:
    """routes: of the application. OpenAI's operations in their order, then ours."""
    here = _served(routes)
    found: list[Shown] = []
    for known in _openai():
        shown = here.pop((known.method, _shape(known.path)), None)
        if shown is None:
            found.append(Shown(known.method, known.path, known.name, known.resource, False, why=known.why))
        else:
            shown.path, shown.name, shown.resource = known.path, known.name, known.resource
            found.append(shown)
    return [*found, *here.values()]


def counts(shown: Sequence[Shown]) -> Mapping[str, int]:
    """Of OpenAI's operations; and of what is ours. Parameters are those of queries, bodies and forms."""
    asked = [one for operation in shown for one in operation.parameters if one.place != "path"]
    theirs = [one for one in shown if one.name is not None]
    return {
        "openai": len(theirs),
        "supported": sum(one.supported for one in theirs),
        "not_here": sum(not one.supported for one in theirs),
        "homeport": len(shown) - len(theirs),
        "parameters": len(asked),
        "refused_parameters": sum(map(refusing, asked)),
    }


def refusing(parameter: Parameter) -> bool:
    """Somebody refuses it."""
    return any(one.verdict == "refused" for one in parameter.support.values())


# OpenAI's table


class _Known(NamedTuple):
    method: str
    path: str
    name: str
    resource: str
    why: str | None


class _Resource(Struct):
    name: str
    operations: str
    why: str | None = None


class _Tool(Struct):
    type: str
    hosted: bool


class _Table(Struct):
    resources: list[_Resource]
    tools: list[_Tool]


@cache
def _table() -> _Table:
    text = (resources.files("homeport.api") / "operations.toml").read_text("utf-8")
    return msgspec.convert(tomllib.loads(text), _Table)


def _openai() -> Iterator[_Known]:
    for resource in _table().resources:
        for line in resource.operations.split("\n"):
            if line:
                method, path, name = line.split()
                yield _Known(method, path, name, resource.name, resource.why)


def tools() -> list[Tool]:
    """Of responses and of assistants."""
    known = {
        "responses": {responses.type_of(one) for one in get_args(responses.Tool)},
        "assistants": {str(one.__struct_config__.tag) for one in get_args(assistants.Tool)},
    }
    found: list[Tool] = []
    for one in _table().tools:
        where = [place for place, types in known.items() if one.type in types]
        found.append(Tool(one.type, bool(where), one.hosted, where))
    return found


# What answers here


def _served(routes: Iterable[BaseRoute]) -> dict[tuple[str, str], Shown]:
    """method, shape of the path -> what answers there."""
    found: dict[tuple[str, str], Shown] = {}
    azure: dict[tuple[str, str], str] = {}
    for route in routes:
        if not isinstance(route, Route):
            continue
        path = route.path_format
        for method in sorted((route.methods or set()) & set(_HTTP), key=_HTTP.index):
            if path.startswith("/openai/"):
                azure[method, _shape(path)] = path
            elif path.startswith("/v1/"):
                found[method, _shape(path)] = _of_route(route, method, path)
    for (method, _), shown in found.items():
        shown.azure = azure.get((method, _shape(_azure(shown))))
    return found


def _azure(shown: Shown) -> str:
    endpoint = _INFERENCE.get(shown.path) if shown.method == "POST" else None
    if endpoint is not None and endpoint is not RESPONSES:
        return f"/openai/deployments/{{deployment}}{endpoint.azure}"
    return shown.path.replace("/v1/", "/openai/", 1)


def _shape(path: str) -> str:
    """What two spellings of the same path have in common."""
    return re.sub(r"\{[^}]*\}", "{}", path)


_INFERENCE: Mapping[str, Endpoint] = {one.path: one for one in (*ENDPOINTS, RESPONSES)}
#: Paths that are answered by themselves -> what they take in the query.
_QUERIES: Mapping[str, type[Struct]] = {
    **{f"/v1/organization/usage/{page.name}": page.parameters for page in PAGES},
    "/v1/organization/costs": CostsParameters,
    "/v1/homeport/costs": ModelParameters,
    "/v1/homeport/savings": ModelParameters,
    "/v1/homeport/requests": RequestsParameters,
    "/v1/homeport/limits": LimitsParameters,
}
#: The same -> whose they are, where that is not admin keys alone; and the scope.
_KEYS: Mapping[str, tuple[Key, str | None]] = {
    "/v1/models": ("project", "model.read"),
    "/v1/models/{model}": ("project", "model.read"),
    "/v1/homeport/images/{name}": ("none", None),
    "/v1/homeport/receipts/{request_id}": ("any", None),
    "/v1/homeport/requests": ("any", "usage.read"),
    "/v1/homeport/limits": ("any", "usage.read"),
    "/v1/homeport/conformance": ("any", None),
    "/v1/homeport/status": ("any", None),
}


def _of_route(route: Route, method: str, path: str) -> Shown:
    endpoint = _INFERENCE.get(path) if method == "POST" else None
    if endpoint is not None:
        return _inference(endpoint, Shown(method, path, None, OURS, True, key="project"))
    operation = _operation(route.endpoint, method)
    if operation is not None:
        return _of_operation(operation, Shown(method, path, None, OURS, True))
    key, scope = _KEYS.get(path, ("admin", None))
    query = _QUERIES.get(path)
    asked = _fields(query, "query") if query is not None else ()
    return Shown(method, path, None, OURS, True, key=key, scope=scope, parameters=[*_in_path(path), *asked])


def _operation(endpoint: Any, method: str) -> "operations.Operation[Any] | None":
    """The row of a table that a route leads to."""
    by_method = getattr(endpoint, "answers", None)  # several rooms answer on the path (application.py)
    answering = by_method[method].endpoint if by_method is not None else endpoint
    return answering.table.get(method) if isinstance(answering, operations.Endpoint) else None


def _of_operation(operation: "operations.Operation[Any]", shown: Shown) -> Shown:
    shown.key = "project" if operation.scope else "admin"
    shown.scope = operation.scope or None
    shown.beta = operation.beta or None
    place: Place = "form" if operation.form is not None and not operation.or_json else "body"
    files = operation.form.parts if operation.form is not None else ()
    queried = [Parameter(name, "query", False, _here(operation.refused.get(name))) for name in operation.query]
    body = _fields(operation.body, place) if shown.method == "POST" else ()
    shown.streams = any(one.name == "stream" for one in (*queried, *body))
    sent = [Parameter(name, "form", not operation.or_json, _here(None)) for name in files]
    shown.parameters = [*_in_path(shown.path), *queried, *sent, *body]
    return shown


def _in_path(path: str) -> list[Parameter]:
    return [Parameter(name, "path", True, _here(None)) for name in re.findall(r"\{(\w+)\}", path)]


def _here(refusal: str | None) -> Mapping[str, Support]:
    if refusal is None:
        return {"homeport": Support("honoured")}
    return {"homeport": Support("refused", refusal, "unsupported_parameter")}


def _fields(body: type[Struct], place: Place) -> list[Parameter]:
    refused = getattr(body, "refused", {})
    by_models = _OF_TURNS.get(body)
    found: list[Parameter] = []
    for field in msgspec.structs.fields(body):
        name = field.encode_name
        support = _here(refused.get(name))
        if name not in refused and by_models is not None and name in by_models:
            support = _by_model(parameters.CHAT[by_models[name]])
        if body is CreateFineTuningJobRequest:
            why = LOCAL_REFUSES.get(name)
            local = Support("refused", why, "unsupported_parameter") if why else Support("honoured")
            support = {"local": local, "upstream": Support("passed on")}
        found.append(Parameter(name, place, field.required, support))
    return found


def _by_model(parameter: parameters.Parameter) -> Mapping[str, Support]:
    code = "unsupported_parameter" if parameter.verdict == "refused" else None
    note = parameter.note
    if parameter.harmless:
        values = " or ".join(f"`{msgspec.json.encode(one).decode()}`" for one in parameter.harmless)
        note += f" ({values} is taken.)" if len(parameter.harmless) == 1 else f" ({values} are taken.)"
    return {"local": Support(parameter.verdict, note, code), "upstream": Support("passed on")}


#: What the requests of parameters.TABLES are decoded as.
_REQUESTS: Mapping[str, type[Struct]] = {
    "chat.completions": CreateChatCompletionRequest,
    "completions": CreateCompletionRequest,
    "embeddings": CreateEmbeddingRequest,
    "moderations": CreateModerationRequest,
    "audio.transcriptions": audio.CreateTranscriptionRequest,
    "audio.translations": audio.CreateTranslationRequest,
    "audio.speech": audio.CreateSpeechRequest,
    "images.generations": CreateImageRequest,
    "images.edits": CreateImageEditRequest,
    "images.variations": CreateImageVariationRequest,
}
#: What of these goes to a model at each turn, under chat completions' name for it.
_RUN = {name: name for name in ("temperature", "top_p", "response_format", "reasoning_effort")}
_RESPONSE = {**{name: name for name in responding.SAME}, "reasoning": "reasoning_effort"}
_OF_TURNS: Mapping[type[Struct], Mapping[str, str]] = {
    responses.CreateResponse: _RESPONSE,
    assistants.CreateAssistantRequest: _RUN,
    assistants.ModifyAssistantRequest: _RUN,
    runs.CreateRunRequest: _RUN,
    runs.CreateThreadAndRunRequest: _RUN,
}


def _inference(endpoint: Endpoint, shown: Shown) -> Shown:
    """An upstream gets every parameter as it came. Of one that is unknown here (rerank) nothing is told."""
    shown.scope, shown.capability, shown.batch = endpoint.scope, endpoint.capability, endpoint.batch
    place: Place = "form" if endpoint.form is not None else "body"
    if endpoint is RESPONSES:
        shown.parameters = _fields(responses.CreateResponse, place)
    elif endpoint.name in parameters.TABLES:
        required = {one.encode_name for one in msgspec.structs.fields(_REQUESTS[endpoint.name]) if one.required}
        shown.parameters = [
            Parameter(name, "body" if name == "images" else place, name in required, _by_model(one))
            for name, one in parameters.TABLES[endpoint.name].items()
        ]
    shown.streams = endpoint.always or any(one.name == "stream" for one in shown.parameters)
    return shown
