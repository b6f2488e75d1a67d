"""Answers to `/rerank`, passed on as they are."""

import msgspec

from homeport.backends.capabilities import Frame
from homeport.backends.upstreams.failures import malformed
from homeport.backends.upstreams.relay import Counts, is_text
from homeport.wire.rerank import RerankResponse

_answer = msgspec.json.Decoder(RerankResponse)


def whole(body: bytes, upstream: str) -> Frame:
    """Raises UpstreamFailed when it is none. Cohere counts no tokens."""
    if not is_text(body):
        raise malformed(upstream)
    try:
        answer = _answer.decode(body)
    except (msgspec.DecodeError, RecursionError):
        raise malformed(upstream) from None
    tokens = answer.usage and (answer.usage.total_tokens or answer.usage.prompt_tokens)
    return Frame(body, usage=Counts(prompt_tokens=tokens).counted() if tokens else None, model=answer.model)
