"""What a page is: a row of a table (pages/__init__.py), a template, a module."""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Literal, NamedTuple

from starlette.requests import Request

from homeport.dashboard.client import Client

#: What the template shows, asked of the public API. Raises Refused.
Data = Callable[[Client, Request], Awaitable[Mapping[str, Any]]]


async def nothing(client: Client, request: Request) -> Mapping[str, Any]:
    return {}


class Page(NamedTuple):
    """path: below `/dashboard`. name: of `templates/pages/NAME.html` and `static/js/pages/NAME.js`. needs: which key.
    group: in the navigation; empty: it is not in it. under: the name of the page that it belongs to there."""

    path: str
    name: str
    title: str
    needs: Literal["project", "admin", "any"]
    data: Data = nothing
    group: str = ""
    icon: str = ""
    under: str = ""
