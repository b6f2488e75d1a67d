"""Styles, modules and libraries, at addresses that change when they do: browsers keep them for good."""

import hashlib
from os import PathLike, stat_result
from pathlib import Path

from starlette.middleware.gzip import GZipMiddleware
from starlette.responses import Response
from starlette.routing import Mount
from starlette.staticfiles import StaticFiles
from starlette.types import Scope

FOLDER = Path(__file__).parent / "static"


class Static:
    def __init__(self, prefix: str) -> None:
        self._prefix = f"{prefix}/{_digest(FOLDER)}"

    def url(self, file: str) -> str:
        return f"{self._prefix}/{file}"

    def route(self) -> Mount:
        return Mount(self._prefix, GZipMiddleware(_Kept(directory=FOLDER), minimum_size=1000))


class _Kept(StaticFiles):
    def file_response(
        self, full_path: "str | PathLike[str]", stat_result: stat_result, scope: Scope, status_code: int = 200
    ) -> Response:
        response = super().file_response(full_path, stat_result, scope, status_code)
        response.headers["cache-control"] = "public, max-age=31536000, immutable"
        return response


def _digest(folder: Path) -> str:
    """Of all that is in it."""
    whole = hashlib.sha256()
    for file in sorted(folder.rglob("*")):
        if file.is_file():
            whole.update(file.relative_to(folder).as_posix().encode() + b"\0" + file.read_bytes())
    return whole.hexdigest()[:16]
