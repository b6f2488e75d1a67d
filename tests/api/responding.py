"""What tests of responses share: a Homeport before a scripted upstream, on each kind of database."""

from typing import Any

WEATHER: Any = {
    "type": "function",
    "name": "weather",
    "description": "How the weather is.",
    "parameters": {"type": "object", "properties": {"city": {"type": "string"}}},
}


def said(response: Any) -> list[str]:
    """The types of its items."""
    return [item.type for item in response.output]
