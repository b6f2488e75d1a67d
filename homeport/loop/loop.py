"""The loop: a model answers, hosted tools that it calls are called, it answers again; until it calls nothing any more,
or functions, which are the client's.

    Plan -> [turn -> hosted calls]* -> turn -> Outcome
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from homeport import clock
from homeport.errors import HomeportError
from homeport.loop import said
from homeport.loop.asking import Asking, Told
from homeport.loop.citations import Citations
from homeport.loop.context import Context
from homeport.loop.scribe import Scribe
from homeport.loop.tools import Hosted
from homeport.loop.turn import Turn
from homeport.loop.turns import REASONS, Calling, Outcome, Plan, Ran, Searched, Used

#: Seconds until what was refused so is asked again; None: it is not. Given how often it was asked.
Wait = Callable[[HomeportError, int], float | None]

#: A model's `finish_reason` -> why its message is incomplete.
_CUT = {"length": "max_tokens", "content_filter": "content_filter"}


class Loop:
    def __init__(self, asking: Asking, *, max_turns: int) -> None:
        """max_turns: of one loop, with those before an interruption; then it fails."""
        self._asking = asking
        self._max_turns = max_turns

    async def go(
        self, plan: Plan, scribe: Scribe, hosted: Sequence[Hosted] = (), *, wait: Wait | None = None
    ) -> Outcome:
        """hosted: the tools that the server has for it. wait: where nobody is kept waiting, what is refused for the
        moment is asked again later, as long as nothing of the turn was heard.

        Raises HomeportError, and what the scribe raises. Cancelling it cancels the work.
        """
        return await _Going(self._asking, self._max_turns, plan, scribe, hosted, wait).go()


class _Asked(NamedTuple):
    turn: Turn
    told: Told


class _Going:
    """One loop, on its way."""

    def __init__(
        self,
        asking: Asking,
        max_turns: int,
        plan: Plan,
        scribe: Scribe,
        hosted: Sequence[Hosted],
        wait: Wait | None,
    ) -> None:
        self._asking = asking
        self._max_turns = max_turns
        self._plan = plan
        self._scribe = scribe
        self._hosted = {str(tool.definition["function"]["name"]): tool for tool in hosted}
        self._functions = {str(tool["function"]["name"]) for tool in plan.functions}
        self._wait = wait
        self._context = Context(plan)
        self._turns = sum(message["role"] == "assistant" for message in self._context.own)
        self._taken = {call["id"] for message in plan.messages for call in message.get("tool_calls") or ()}
        self._sources: list[Searched | Ran] = [*(one for tool in hosted for one in tool.sources), *plan.sources]
        self._request_id = plan.request_id
        self._first = plan.first
        self._model = ""
        self._prompt, self._completion, self._calls = plan.most_prompt, plan.most_completion, plan.most_calls

    async def go(self) -> Outcome:
        outcome = await self._make(self._plan.pending)
        while outcome is None:
            outcome = await self._turn()
        return outcome

    async def _turn(self) -> Outcome | None:
        """None: another one follows."""
        if self._turns >= self._max_turns:
            raise HomeportError(
                f"The model was called {self._turns} times, and called tools each time: more often than this server "
                "allows. Whoever runs it can raise assistants.max_turns."
            )
        if self._completion is not None and self._completion <= 0:
            return self._incomplete("max_completion_tokens")
        asked = await self._ask()
        if asked is None:
            return self._incomplete("max_prompt_tokens")
        turn, told = asked
        self._turns, self._first, self._model = self._turns + 1, False, told.model
        self._book(told.used)
        cut = _CUT.get(told.finish, "")
        await turn.end_message(cut)
        calls = turn.calls if not cut else []  # the last of them may be cut, too
        for call in calls:
            call.output = self._refusal(call)
        await self._scribe.turn_ended(calls, told.used)
        if cut:
            return self._incomplete(REASONS[cut])
        if not calls:
            return Outcome("completed", model=self._model)
        self._context.add([said.message(turn.text, calls)])
        return await self._make(calls)

    def _incomplete(self, reason: str) -> Outcome:
        return Outcome("incomplete", reason=reason, model=self._model)

    async def _ask(self) -> _Asked | None:
        """None: the prompt is longer than what is left for it."""
        refused = 0
        while True:
            request = self._request()
            fits = await self._context.fit(request, self._prompt)
            if not fits:
                return None
            types = {name: tool.type for name, tool in self._hosted.items()}
            citations = Citations(self._sources, keeps_markers=self._plan.keeps_markers)
            turn = Turn(self._scribe, citations, types, self._taken)
            request_id, self._request_id = self._request_id, ""
            headers: list[bytes] = []
            if self._first:
                headers = self._plan.told
                headers.clear()  # of what was refused before
            try:
                told = await self._asking.turn(
                    self._plan.who, request, turn.hear, request_id=request_id, told=headers, batch=self._plan.batch
                )
            except HomeportError as error:
                if turn.begun:
                    raise
                if await self._context.shorten(error, request):
                    continue
                refused += 1
                seconds = self._wait(error, refused) if self._wait is not None else None
                if seconds is None:
                    raise
                await clock.sleep(seconds)
            else:
                return _Asked(turn, told)

    def _request(self) -> dict[str, Any]:
        """Of the next turn, without its messages."""
        plan = self._plan
        request: dict[str, Any] = {"model": plan.model, **plan.parameters}
        hosted = [tool.definition for tool in self._hosted.values()] if self._calls != 0 else []
        tools = [*plan.functions, *hosted]
        if tools:
            request["tools"] = tools
            if plan.parallel_tool_calls is not None:
                request["parallel_tool_calls"] = plan.parallel_tool_calls
            if self._first and plan.tool_choice is not None:
                request["tool_choice"] = self._choice(plan.tool_choice)
        if self._completion is not None:
            request["max_completion_tokens"] = self._completion
        return request

    def _choice(self, choice: Any) -> Any:
        if isinstance(choice, Mapping):
            for name, tool in self._hosted.items():
                if tool.type == choice.get("type"):
                    return {"type": "function", "function": {"name": name}}
        return choice

    def _book(self, used: Used) -> None:
        if self._prompt is not None:
            self._prompt -= used.prompt
        if self._completion is not None:
            self._completion -= used.completion
        self._context.learn(used.prompt)

    def _refusal(self, call: Calling) -> str | None:
        """What the model is told of a call that nobody can make; None: it is made."""
        if call.name in self._hosted:
            return None
        if call.name not in self._functions:
            known = ", ".join([*self._functions, *self._hosted]) or "none"
            return f"There is no tool {call.name!r}. There are: {known}."
        if said.arguments_of(call) is None:
            return "The arguments are no JSON object. Call the tool again with one that follows its schema."
        return None

    async def _make(self, calls: Sequence[Calling]) -> Outcome | None:
        """None: all of them have their outputs."""
        tools = {tool.type: tool for tool in self._hosted.values()}
        for call in calls:
            if call.output is not None or call.type == "function":
                continue
            tool = tools.get(call.type)
            if tool is None or self._calls == 0:
                call.output = "This tool cannot be called any more. Answer with what you know."
            else:
                self._calls = self._calls - 1 if self._calls is not None else None
                await tool.call(call)
                call.output = call.output or ""
            if call.result is not None:
                self._sources.append(call.result)
            await self._scribe.call_ended(call)
        self._context.add(said.outputs(calls))
        wanted = [call for call in calls if call.output is None]
        return Outcome("requires_action", wanted, model=self._model) if wanted else None
