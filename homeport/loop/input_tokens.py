"""How many tokens a model would be told first, of a response that nobody has asked for yet. Nothing is made, written,
or paid for."""

import asyncio
from typing import Any

import msgspec

from homeport.backends.capabilities import Call
from homeport.control.owners import Owner
from homeport.control.responses import Responses
from homeport.gateway import counting
from homeport.gateway.endpoints import CHAT
from homeport.gateway.routing import Target
from homeport.loop.responding import Responding
from homeport.loop.tools.toolbox import Toolbox
from homeport.wire.input_tokens import TokenCountsBody


class InputTokens:
    def __init__(self, responses: Responses, responding: Responding, tools: Toolbox) -> None:
        self._responses = responses
        self._responding = responding
        self._tools = tools

    async def count(self, owner: Owner, asked: TokenCountsBody, target: Target) -> int:
        """target: what would answer. A model of this machine counts itself; others are counted as gateway/counting.py
        does. Raises InvalidRequest and its kin, ModelNotReady."""
        wanted = await self._responses.wanted(owner, asked.response)
        plan = await self._responding.plan(owner, wanted.row, [*wanted.before, *wanted.coming])
        request: dict[str, Any] = {"model": plan.model, "messages": plan.messages}
        tools = [*plan.functions, *self._tools.definitions(wanted.row["request"].get("tools", ()))]
        if tools:
            request["tools"] = tools
            if plan.tool_choice == "none":
                request["tool_choice"] = "none"
        if "response_format" in plan.parameters:
            request["response_format"] = plan.parameters["response_format"]
        if target.local and target.backend.can("count"):
            body = msgspec.json.encode(request)
            counted: int = await target.backend.count(Call(CHAT.name, "", plan.model, body, model=target.model))
            return counted
        return await asyncio.to_thread(counting.count_request, target.model, request)
