"""A model that draws, for tests of everything around one: it says what it was asked, and its pictures are of one
colour each."""

import base64
import json
from collections.abc import AsyncGenerator
from typing import Any

import msgspec

from homeport.backends.capabilities import Answer, Call, Frame, Usage
from homeport.errors import InvalidRequest
from homeport.wire.images import priced_size
from tests.fake_upstream import event, png
from tests.server import Running


class Brush:
    """calls: in their order; sent: the files of each, while they were there."""

    def __init__(self) -> None:
        self.calls: list[Call] = []
        self.sent: list[dict[str, list[bytes]]] = []

    def lines_at_once(self, capability: str) -> int | None:
        return None

    async def start(self) -> None:
        """It is there."""

    async def close(self) -> None:
        """It holds nothing."""

    async def draw(self, call: Call) -> Answer:
        return await self._drawn(call, "image_generation")

    async def edit_image(self, call: Call) -> Answer:
        return await self._drawn(call, "image_edit")

    async def vary_image(self, call: Call) -> Answer:
        return await self._drawn(call, "")

    @property
    def asked(self) -> Any:
        """The last body."""
        return msgspec.json.decode(self.calls[-1].body)

    async def _drawn(self, call: Call, kind: str) -> Answer:
        self.calls.append(call)
        sent: dict[str, list[bytes]] = {}
        for file in call.attached:
            sent.setdefault(file.field, []).append(file.path.read_bytes())
        self.sent.append(sent)
        if self.asked.get("prompt") == "nothing":
            raise InvalidRequest("There is nothing in it.", param="prompt")
        count = self.asked.get("n") or 1
        usage = Usage(0, 0, images=count, size=priced_size(call.fields))
        if call.stream:
            return await Answer.begun(self._events(kind, usage), stream=True)
        data = [
            {"b64_json": base64.b64encode(png(colour=number)).decode(), "revised_prompt": "As I see it."}
            for number in range(count)
        ]
        return Answer(Frame(json.dumps({"created": 1, "data": data}).encode(), usage, "brush"))

    async def _events(self, kind: str, usage: Usage) -> AsyncGenerator[Frame, None]:
        picture = {"b64_json": base64.b64encode(png()).decode(), "created_at": 1, "size": "1024x1024"}
        picture |= {"quality": "low", "background": "opaque", "output_format": "png"}
        yield Frame(event({"type": f"{kind}.partial_image", "partial_image_index": 0, **picture}), model="brush")
        counts: dict[str, Any] = {"input_tokens": 1, "output_tokens": 2, "total_tokens": 3}
        counts["input_tokens_details"] = {"text_tokens": 1, "image_tokens": 0}
        yield Frame(event({"type": f"{kind}.completed", **picture, "usage": counts}), usage)


def taught(server: Running, model: str = "echo") -> Brush:
    """The model of a server can draw, too."""
    brush = Brush()
    held: Any = server.app.held[model]
    held._backends = (*held._backends, brush)
    return brush
