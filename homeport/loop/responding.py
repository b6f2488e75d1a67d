"""A response, from what was asked for to how it ends: the same in a request and in a job."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple, Protocol

from homeport.control.items import as_messages
from homeport.control.owners import Owner
from homeport.control.response_states import Ended, Row, Used, failed
from homeport.errors import HomeportError
from homeport.gateway.watching import status_of
from homeport.loop import said
from homeport.loop.loop import Loop, Wait
from homeport.loop.response_scribe import ResponseScribe, Said
from homeport.loop.tools import Hosted
from homeport.loop.turns import Outcome, Plan, Ran, Truncation
from homeport.wire.base import convert
from homeport.wire.items import CodeInterpreterCall, Item, Message
from homeport.wire.responses import FunctionTool, TextConfig

#: Members of a response's request that chat completions have, too.
SAME = (
    *("temperature", "top_p", "user", "safety_identifier", "service_tier"),
    *("prompt_cache_key", "prompt_cache_retention"),
)
_REASONS = {"max_completion_tokens": "max_output_tokens", "content_filter": "content_filter"}
#: The same, of a message.
_CUTS = {"max_tokens": "max_output_tokens", "content_filter": "content_filter"}
#: What is wrong with what was asked.
_INVALID = frozenset({400, 404, 413, 422})


class Tools(Protocol):
    """The hosted tools (loop/tools/toolbox.py)."""

    def check(self, types: Sequence[str]) -> None:
        """Raises InvalidRequest: one of them is not to be had here."""
        ...

    async def of_response(
        self,
        who: Owner,
        *,
        model: str,
        tools: Sequence[Mapping[str, Any]],
        container: str | None = None,
        sources: Sequence[Any] = (),
    ) -> Sequence[Hosted]:
        """container: the last that code of the conversation ran in. Raises HomeportError."""
        ...


class Files(Protocol):
    """control/item_files.py"""

    async def brought(self, owner: Owner, told: Sequence[Item], *, param: str = "input") -> list[Item]: ...


class Prepared(NamedTuple):
    """container_id: where its code runs; empty where it runs none."""

    plan: Plan
    hosted: Sequence[Hosted]
    container_id: str


class Responding:
    def __init__(self, loop: Loop, tools: Tools, files: Files) -> None:
        self._loop = loop
        self._tools = tools
        self._files = files

    def check(self, request: Mapping[str, Any], told: Sequence[Item]) -> None:
        """What can be said before anybody works on it. Raises InvalidRequest."""
        self._tools.check([tool["type"] for tool in request.get("tools", ())])
        as_messages([item for item in told if not isinstance(item, Message)])  # whether calls have their outputs

    async def prepared(
        self,
        owner: Owner,
        row: Row,
        told: Sequence[Item],
        *,
        turns: Sequence[Said] = (),
        used: Used = Used(),  # noqa: B008
    ) -> Prepared:
        """told: what was said before it, and came with it. turns, used: of an interrupted one.

        Raises HomeportError.
        """
        plan = await self.plan(owner, row, told, turns=turns, used=used)
        hosted = await self._tools.of_response(
            owner,
            model=row["model"],
            tools=_offered(row["request"]),
            container=_container(told, turns),
            sources=plan.sources,
        )
        containers = [getattr(tool, "container_id", "") for tool in hosted]
        return Prepared(plan, hosted, next(filter(None, containers), ""))

    async def plan(
        self,
        owner: Owner,
        row: Row,
        told: Sequence[Item],
        *,
        turns: Sequence[Said] = (),
        used: Used = Used(),  # noqa: B008
    ) -> Plan:
        """As `prepared`, without the hosted tools. Raises HomeportError."""
        request = row["request"]
        tools = _offered(request)
        messages = as_messages(await self._files.brought(owner, told))
        if request.get("instructions"):
            messages.insert(0, {"role": "system", "content": request["instructions"]})
        own = [message for turn in turns for message in _said(turn)]
        called = [call for turn in turns for call in turn.calls]
        made = sum(call.type != "function" for call in called if call.output is not None)
        most, calls = request.get("max_output_tokens"), request.get("max_tool_calls")
        return Plan(
            who=owner,
            model=row["model"],
            messages=[*messages, *own],
            own=len(own),
            parameters=_parameters(request),
            functions=[convert(tool, FunctionTool).as_chat() for tool in tools if tool["type"] == "function"],
            tool_choice=_choice(request.get("tool_choice")) if tools else None,
            first=not turns,
            parallel_tool_calls=request.get("parallel_tool_calls"),
            most_completion=None if most is None else max(0, most - used.output),
            most_calls=None if calls is None else max(0, calls - made),
            truncation=Truncation(request.get("truncation", "disabled")),
            pending=[call for turn in turns[-1:] for call in turn.calls if call.output is None],
            sources=[call.result for call in called if call.result is not None],
            keeps_markers=False,
        )

    async def answer(self, prepared: Prepared, scribe: ResponseScribe, *, wait: Wait | None = None) -> Ended:
        """Raises HomeportError, and what the scribe raises. Cancelling it cancels the work."""
        return _ended(await self._loop.go(prepared.plan, scribe, prepared.hosted, wait=wait))


def failure(error: HomeportError) -> Ended:
    """How a response ends that it befalls."""
    status = status_of(error)
    if status == 429:
        return failed("rate_limit_exceeded", error.message)
    return failed("invalid_prompt" if status in _INVALID else "server_error", error.message)


def outcome_of(turns: Sequence[Said]) -> Ended | None:
    """Where the last of them was the last of all. None: another one follows, or a call."""
    if not turns or turns[-1].calls:
        return None
    cut = turns[-1].cut
    return Ended("incomplete", reason=_CUTS.get(cut, "max_output_tokens")) if cut else Ended("completed")


def _ended(outcome: Outcome) -> Ended:
    """Calls of functions are the client's to make: what it says of them begins another response."""
    if outcome.status == "incomplete":
        return Ended("incomplete", reason=_REASONS.get(outcome.reason, "max_output_tokens"), model=outcome.model)
    return Ended("completed", model=outcome.model)


def _said(turn: Said) -> list[dict[str, Any]]:
    if not turn.text and not turn.calls:
        return []
    return [said.message(turn.text, turn.calls), *said.outputs(turn.calls)]


def _parameters(request: Mapping[str, Any]) -> dict[str, Any]:
    """As chat completions have them."""
    found = {name: request[name] for name in SAME if name in request}
    text = convert(request.get("text", {}), TextConfig)
    others = {
        "response_format": text.as_chat(),
        "verbosity": text.verbosity,
        "reasoning_effort": request.get("reasoning", {}).get("effort"),
    }
    return {**found, **{name: value for name, value in others.items() if value is not None}}


def _offered(request: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    return [tool for tool in request.get("tools", ()) if _is_allowed(tool, request.get("tool_choice"))]


def _is_allowed(tool: Mapping[str, Any], choice: Any) -> bool:
    """Of the tools that are there only some may be called, in any turn."""
    if not isinstance(choice, Mapping) or choice["type"] != "allowed_tools":
        return True
    return any(one["type"] == tool["type"] and one.get("name") == tool.get("name") for one in choice["tools"])


def _choice(choice: Any) -> Any:
    """As plans have it."""
    if not isinstance(choice, Mapping):
        return choice
    if choice["type"] == "allowed_tools":
        return choice["mode"]
    return {"type": "function", "function": {"name": choice["name"]}} if choice["type"] == "function" else choice


def _container(told: Iterable[Item], turns: Iterable[Said]) -> str | None:
    """Where code has run last."""
    found = [item.container_id for item in told if isinstance(item, CodeInterpreterCall)]
    found += [call.result.container_id for turn in turns for call in turn.calls if isinstance(call.result, Ran)]
    return next(filter(None, reversed(found)), None)
