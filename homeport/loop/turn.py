"""A turn as it is heard: pieces of a model become a message with its citations, and calls, in the scribe's order."""

from collections.abc import Mapping

from homeport import ids
from homeport.loop.asking import Arguments, CallBegan, Piece, Reasoning, Refusal, Text
from homeport.loop.citations import Citations
from homeport.loop.scribe import Scribe
from homeport.loop.turns import Calling, ToolType


class Turn:
    """text: what the message says, as the model has written it. begun: something was heard."""

    def __init__(self, scribe: Scribe, citations: Citations, hosted: Mapping[str, ToolType], taken: set[str]) -> None:
        """hosted: by their names; whatever else is called is taken for a function. taken: ids of calls of earlier
        turns, to which those of this one are added: not every server finds a new one each time."""
        self._scribe = scribe
        self._citations = citations
        self._hosted = hosted
        self._taken = taken
        self._blank = ""
        self._open = False
        self.text = ""
        self.calls: list[Calling] = []
        self.begun = False

    async def hear(self, piece: Piece) -> None:
        """What is said once a call has begun is left out, and so are thoughts behind the first word: nobody expects
        them there."""
        self.begun = True
        match piece:
            case Text(delta) if not self.calls:
                await self._say(delta)
            case Refusal(delta) if not self.calls:
                self._open = True
                await self._scribe.refusal(delta)
            case Reasoning(delta) if not self.calls and not self._open:
                await self._scribe.reasoning(delta)
            case CallBegan(_, id, name):
                await self.end_message("")
                await self._begin(id, name)
            case Arguments(at, delta):
                call = self.calls[at]
                call.arguments += delta
                await self._scribe.arguments(call, delta)
            case _:
                pass

    async def end_message(self, cut: str) -> None:
        """cut: why it is incomplete. Nothing happens where there is none."""
        if not self._open:
            return
        rest = self._citations.end()
        if rest.text or rest.annotations:
            await self._scribe.text(rest.text, rest.annotations)
        self._open = False
        await self._scribe.message_ended(cut)

    async def _say(self, delta: str) -> None:
        """White space before the first word waits for it: before calls many models write nothing else."""
        if not self.text and not (self._blank + delta).strip():
            self._blank += delta
            return
        delta, self._blank = self._blank + delta, ""
        self.text += delta
        self._open = True
        known = self._citations.feed(delta)
        if known.text or known.annotations:
            await self._scribe.text(known.text, known.annotations)

    async def _begin(self, id: str, name: str) -> None:
        if not id or id in self._taken:
            id = ids.tool_call()
        self._taken.add(id)
        call = Calling(id=id, type=self._hosted.get(name, "function"), name=name, arguments="")
        self.calls.append(call)
        await self._scribe.call_began(call)
