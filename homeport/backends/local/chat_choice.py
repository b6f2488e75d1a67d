"""One choice of a chat completion as it grows: content, calls, log-probabilities, and how it ended."""

from typing import Any

import msgspec

from homeport import ids
from homeport.backends.local.chat_plan import Plan
from homeport.backends.templates.tool_calls import Arguments, CallBegan, Event, Text
from homeport.backends.text import Piece, TokenLogprob
from homeport.errors import HomeportError


class Call:
    __slots__ = ("arguments", "id", "name")

    def __init__(self, name: str) -> None:
        self.id = ids.tool_call()
        self.name = name
        self.arguments = ""


class Choice:
    """begun, calls_told: what has been sent. pending: log-probabilities of tokens whose text has not been sent."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self.offer = plan.offer
        self._parser = plan.parser()
        self._content: list[str] = []
        self._in_call = False
        self.calls: list[Call] = []
        self.logprobs: list[TokenLogprob] = []
        self.pending: list[TokenLogprob] = []
        self.begun = False
        self.calls_told = 0
        self.finish: str | None = None

    @property
    def content(self) -> str | None:
        """null where there are calls and nothing was said beside them."""
        return "".join(self._content) if self._content or not self.calls else None

    def take(self, piece: Piece) -> list[Event]:
        """What the piece adds, in order. The last one sets `finish`.

        Raises HomeportError when a finished answer breaks what the request was promised.
        """
        self.pending.extend(piece.logprobs)
        if self._parser is None:
            events: list[Event] = [Text(piece.text)] if piece.text else []
        else:
            events = self._parser.feed(piece.text)
            if piece.finish:
                events += self._parser.finish()
        for event in events:
            match event:
                case Text(text):
                    self._content.append(text)
                    self._in_call = False
                case CallBegan(name):
                    self.calls.append(Call(name))
                    self._in_call = True
                case Arguments(text):
                    self.calls[-1].arguments += text
        if self._in_call:
            self.pending.clear()  # log-probabilities are told of the content alone
        if piece.finish:
            self._end(piece.finish)
        return events

    def told(self) -> list[TokenLogprob]:
        """The pending log-probabilities; they belong to the content that is sent now."""
        told, self.pending = self.pending, []
        self.logprobs += told
        return told

    def _end(self, finish: str) -> None:
        offer, form = self._plan.offer, self._plan.form
        self.finish = finish
        if finish != "stop":
            return
        cut = bool(self._plan.samplings[0].stop)  # by the client's own stop text, perhaps
        if self.calls:
            self.finish = "function_call" if offer.older else "tool_calls"
            if not cut and not all(self._holds(call) for call in self.calls):
                raise _broken("called a function with arguments that do not follow its parameters")
        elif offer.required and not cut:
            raise _broken("did not call a function though it had to")
        elif form and not offer.callable and not cut:
            form.judge("".join(self._content))

    def _holds(self, call: Call) -> bool:
        try:
            arguments = msgspec.json.decode(call.arguments)
        except (msgspec.DecodeError, RecursionError):
            return False
        return isinstance(arguments, dict) and self._plan.offer.admits(call.name, arguments)

    def message(self) -> dict[str, Any]:
        """`ChatCompletionResponseMessage`."""
        message: dict[str, Any] = {
            "role": "assistant",
            "content": self.content,
            "refusal": None,
            "annotations": [],
        }
        if self.calls and self._plan.offer.older:
            (call,) = self.calls
            message["function_call"] = {"name": call.name, "arguments": call.arguments}
        elif self.calls:
            message["tool_calls"] = [
                {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": call.arguments}}
                for call in self.calls
            ]
        return message


def _broken(what: str) -> HomeportError:
    return HomeportError(f"The model {what}. Try again, or with another seed.", code="invalid_model_output")
