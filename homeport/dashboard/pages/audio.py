"""Speech and transcriptions, in the playground."""

from collections.abc import Mapping
from typing import Any

from starlette.requests import Request

from homeport.dashboard.client import Client
from homeport.dashboard.models import offered
from homeport.dashboard.page import Page


async def _models(client: Client, request: Request) -> Mapping[str, Any]:
    listed = (await client.get("/v1/models"))["data"]
    heard = ("whisper", "transcribe", "voxtral", "parakeet")
    return {
        "speaking": offered(listed, "speak", like=("tts", "speech", "voice")),
        "hearing": offered(listed, "transcribe", like=heard),
        "voices": {model["id"]: model["voices"] for model in listed if "voices" in model},
    }


PAGES = [Page("/audio", "audio", "Audio", "project", _models, group="Playground", icon="audio")]
