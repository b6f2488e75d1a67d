"""What turns OpenAI's chat and completion requests into tokens and tokens into OpenAI's objects, once for all engines.

LocalText.chat      parameters -> conversation, tools, response_format -> template -> tokens   (local/chat_plan.py)
                    pieces -> choices (tool calls parsed) -> one object, or chunks             (local/chat.py)
LocalText.complete  parameters -> prompts (local/completion_plan.py) -> pieces -> objects      (local/completions.py)
"""

import hashlib
from collections.abc import Sequence
from typing import Any

import msgspec

from homeport import __version__
from homeport.backends.capabilities import Answer, Call
from homeport.backends.local import chat, chat_plan, completion_plan, completions, parameters
from homeport.backends.templates.chat_template import ChatTemplate
from homeport.backends.text import Adapting, Occupancy, TextEngine, cannot_adapt
from homeport.wire.base import decode
from homeport.wire.chat import CreateChatCompletionRequest
from homeport.wire.completions import CreateCompletionRequest

_chat = msgspec.json.Decoder(CreateChatCompletionRequest)
_completion = msgspec.json.Decoder(CreateCompletionRequest)


class LocalText:
    """Chat and Complete (capabilities.py) over one text engine. template: the engine's own by default."""

    def __init__(self, name: str, engine: TextEngine, template: ChatTemplate | None = None) -> None:
        self.name = name
        self._engine = engine
        self._template = template
        self._fingerprint = ""

    async def start(self) -> None:
        """Load the weights, then try their template. Raises templates.sandbox.TemplateFailed if that does not work."""
        await self._engine.start()
        template = self._template = self._template or ChatTemplate.of(self._engine.card)
        self._fingerprint = _fingerprint(self._engine, template)

    async def close(self) -> None:
        await self._engine.close()

    def occupancy(self) -> Sequence[Occupancy]:
        return self._engine.occupancy()

    def lines_at_once(self, capability: str) -> int | None:
        """As many as run at once while nobody else asks."""
        return max((max(one.places, one.most_lines) for one in self._engine.occupancy()), default=None)

    async def chat(self, call: Call) -> Answer:
        """As capabilities.Chat. A stream's last frame carries the usage, whether or not the client asked to see it."""
        request = decode(_chat, call.body)
        model = call.model or self.name
        parameters.check(request, parameters.CHAT, model)
        fields = _fields(request)
        assert self._template is not None, "start() has not been awaited"
        engine, fingerprint = await self._asked(call)
        plan = await chat_plan.planned(fields, model, engine, self._template)
        frames = chat.answer(plan, engine, fields, model=model, fingerprint=fingerprint, batch=call.background)
        return await Answer.begun(frames, stream=bool(fields.get("stream")))

    async def count(self, call: Call) -> int:
        """As capabilities.Count. No adapter changes it."""
        fields = _fields(decode(_chat, call.body))
        assert self._template is not None, "start() has not been awaited"
        return await chat_plan.count(fields, call.model or self.name, self._engine, self._template)

    async def complete(self, call: Call) -> Answer:
        """As capabilities.Complete."""
        request = decode(_completion, call.body)
        model = call.model or self.name
        parameters.check(request, parameters.COMPLETIONS, model)
        fields = _fields(request)
        engine, fingerprint = await self._asked(call)
        plan = await completion_plan.planned(fields, model, engine)
        frames = completions.answer(plan, engine, fields, model=model, fingerprint=fingerprint, batch=call.background)
        return await Answer.begun(frames, stream=bool(fields.get("stream")))

    async def _asked(self, call: Call) -> tuple[TextEngine, str]:
        """The engine, or that of a fine-tuned model, and its fingerprint. Raises ModelNotReady."""
        if call.adapter is None:
            return self._engine, self._fingerprint
        if not isinstance(self._engine, Adapting):
            raise cannot_adapt(self._engine.name)
        engine = await self._engine.adapted(call.adapter)
        assert self._template is not None, "start() has not been awaited"
        return engine, _fingerprint(engine, self._template)


def _fields(request: msgspec.Struct) -> dict[str, Any]:
    """The validated request under its names of the wire; what was absent is absent."""
    fields: dict[str, Any] = msgspec.to_builtins(request)
    return fields


def _fingerprint(engine: TextEngine, template: ChatTemplate) -> str:
    """`system_fingerprint`: another one means that the same seed may give another text."""
    identity = "\n".join([__version__, engine.name, engine.card.identity, template.source])
    return "fp_" + hashlib.blake2b(identity.encode(), digest_size=5).hexdigest()
