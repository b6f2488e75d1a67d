"""Pictures that were made, at addresses that nobody guesses: `GET /v1/homeport/images/{name}.png`. Without a key, as
those are for web pages and whoever else they are shown to."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from homeport.api.streamed import Streamed
from homeport.errors import NotFound
from homeport.gateway.image_addresses import PATH

if TYPE_CHECKING:
    from homeport.store.images import Images, Picture


class MadeImages:
    def __init__(self, images: "Images") -> None:
        self._images = images

    def routes(self) -> Sequence[BaseRoute]:
        return [Route(f"{PATH}{{name}}", self.show, methods=["GET", "HEAD"])]

    async def show(self, request: Request) -> Response:
        """Raises NotFound, in the same words whether there was one or never; ContentMissing, Unavailable."""
        picture = await self._images.find(request.path_params["name"])
        if picture is None:
            raise NotFound("There is no picture at this address, or not any more.")
        headers = _headers(picture)
        if request.method == "HEAD":
            return Response(headers=headers)
        pieces = self._images.read(picture)
        return Streamed(await anext(pieces), pieces, 200, headers)


def _headers(picture: "Picture") -> dict[str, str]:
    """It is shown as a picture and as nothing else: it may hold whatever somebody asked a model for."""
    return {
        "content-type": picture.media_type,
        "content-length": str(picture.bytes),
        "x-content-type-options": "nosniff",
        "content-security-policy": "default-src 'none'; sandbox",
        "cache-control": f"private, max-age={picture.seconds}",
        "access-control-allow-origin": "*",
        "cross-origin-resource-policy": "cross-origin",
    }
