"""What llama.cpp says of a running completion, as pieces."""

from collections.abc import Callable
from typing import Any

from homeport.backends.text import Alternative, Piece, TokenLogprob


class Chunks:
    """The chunks of one request, in order.

    While text might be the beginning of a stop text it is held back: its tokens come with log-probabilities and without
    text, which then comes all at once with the last of them. They get their own texts back here, and are dropped when
    they turn out to be the stop text, or the end-of-text token.
    """

    def __init__(self, logprobs: int | None, top: int, text_of: Callable[[int], str]) -> None:
        """logprobs: whether they were asked for; top: how many alternatives to show."""
        self._logprobs = logprobs
        self._top = top
        self._text_of = text_of
        self._held: list[dict[str, Any]] = []
        self.finished = False

    def take(self, chunk: dict[str, Any]) -> Piece | None:
        choice = chunk["choices"][0]
        text, finish = choice["text"], choice["finish_reason"]
        logprobs = self._read(choice, text) if self._logprobs else ()
        if finish is None:
            return Piece(text, logprobs) if text else None
        self.finished = True
        usage = chunk["usage"]
        return Piece(
            text,
            logprobs,
            finish="length" if finish == "length" else "stop",
            completion_tokens=usage["completion_tokens"],
            cached_tokens=usage.get("prompt_tokens_details", {}).get("cached_tokens", 0),
        )

    def _read(self, choice: dict[str, Any], text: str) -> tuple[TokenLogprob, ...]:
        entries: list[dict[str, Any]] = (choice["logprobs"] or {}).get("content", [])
        if not text:
            self._held += entries
            return ()
        if not self._held:
            return tuple(logprob_of(entry, self._top) for entry in entries)
        entries, self._held = [*self._held, *entries], []
        return tuple(logprob_of(entry, self._top, self._text_of(entry["id"])) for entry in entries)


def logprob_of(entry: dict[str, Any], top: int, text: str | None = None) -> TokenLogprob:
    """text: of the token itself, where the entry's own cannot be used."""
    alternatives = tuple(
        Alternative(one["token"], one["logprob"], bytes(one["bytes"])) for one in entry["top_logprobs"][:top]
    )
    if text is None:
        return TokenLogprob(entry["token"], entry["logprob"], bytes(entry["bytes"]), alternatives)
    return TokenLogprob(text, entry["logprob"], text.encode(), alternatives)
