"""Objects of the wire as HTTP answers."""

import msgspec
from starlette.responses import Response


def json_answer(value: object, status: int = 200) -> Response:
    return Response(msgspec.json.encode(value), status_code=status, media_type="application/json")
