"""Answers to `/moderations`, passed on as they are: whoever made them may know categories that nobody here does."""

import msgspec

from homeport.backends.capabilities import Frame
from homeport.backends.upstreams.failures import malformed
from homeport.backends.upstreams.relay import is_text
from homeport.wire.moderations import ModerationResults

_answer = msgspec.json.Decoder(ModerationResults)


def whole(body: bytes, upstream: str) -> Frame:
    """Raises UpstreamFailed when it is none. Nobody tells how many tokens were read."""
    if not is_text(body):
        raise malformed(upstream)
    try:
        answer = _answer.decode(body)
    except (msgspec.DecodeError, RecursionError):
        raise malformed(upstream) from None
    return Frame(body, model=answer.model)
