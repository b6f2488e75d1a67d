"""Server-sent events as OpenAI sends them: `data: JSON` and a blank line; the stream ends with `data: [DONE]`."""

DONE = b"data: [DONE]\n\n"
KEEP_ALIVE = b": keep-alive\n\n"


def event(data: bytes) -> bytes:
    return b"data: " + data + b"\n\n"
