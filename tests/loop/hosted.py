"""Calls of hosted tools, as a loop makes them."""

from homeport.loop.turns import Calling, ToolType


def call(type: ToolType, arguments: str) -> Calling:
    return Calling(id="call_1", type=type, name=type, arguments=arguments)
