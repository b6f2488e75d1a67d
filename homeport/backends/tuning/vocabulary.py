"""The vocabulary of a GGUF's model, by llama.cpp, which serves it: its tokens are the ones that requests become.

The library loads no vocabulary alone. It has the whole model, but its weights are mapped, and of them only those pages
come into memory that it takes to say a single token: the same ones as of the process that serves, where that is on this
machine. With the default model it is half a second, and 55 MB beside the mapped file.
"""

import asyncio
from pathlib import Path
from typing import Any, NamedTuple

from homeport.backends.engines.llama_server import LlamaServer, parameters
from homeport.backends.templates.chat_template import ChatTemplate
from homeport.backends.text import ModelCard
from homeport.errors import ModelNotReady

#: Tokens of the smallest context that there is.
_CONTEXT = 256


class _Asked(NamedTuple):
    text: str
    special: bool
    tokens: "asyncio.Future[list[int]]"


class Vocabulary:
    """Tokenizer. Blocks: it is for a process that does nothing else.

    Texts that several tasks ask for go to the library together. The way to it and back is most of what one text takes,
    the more so where others have the processor.
    """

    def __init__(self, path: Path) -> None:
        """Raises ModelNotReady where llama.cpp cannot load it."""
        wanted = parameters(path, threads=1)
        wanted.n_ctx = wanted.n_batch = wanted.n_ubatch = _CONTEXT
        wanted.n_parallel = 1
        wanted.no_extra_bufts = True  # or it writes the weights anew, as its fastest loops want them
        wanted.n_gpu_layers = 0
        wanted.warmup = wanted.fit_params = False
        self._server = LlamaServer(path, wanted)
        self.card: ModelCard = self._server.card(_CONTEXT)
        self._asked: list[_Asked] = []
        self._ends(0)  # before it has said something it must not be closed

    async def tokenize(self, text: str, *, special: bool) -> list[int]:
        loop = asyncio.get_running_loop()
        if not self._asked:
            loop.call_soon(self._answer)  # once every task that can go on has come to its question
        one = _Asked(text, special, loop.create_future())
        self._asked.append(one)
        return await one.tokens

    def _answer(self) -> None:
        asked, self._asked = self._asked, []
        for special in (True, False):
            alike = [one for one in asked if one.special is special]
            try:
                found = self._server.tokens_of_each([one.text for one in alike], special=special) if alike else []
            except Exception as error:
                for one in alike:
                    one.tokens.set_exception(error)
            else:
                for one, tokens in zip(alike, found, strict=True):
                    one.tokens.set_result(tokens)

    def end_of_turn(self, template: ChatTemplate) -> int:
        """The token that a model of this template is to end its answers with: the template's own, where llama.cpp stops
        at it. Raises ModelNotReady: there is none."""
        for text in (template.end_of_turn(), self.card.eos):
            tokens = self._server.tokens(text, special=True)
            if tokens and self._ends(tokens[0]):
                return tokens[0]
        raise ModelNotReady("This model has no token that ends an answer.")

    def close(self) -> None:
        self._server.close()

    def _ends(self, token: int) -> bool:
        """Whether an answer ends where the model says this."""
        finished: list[Any] = []

        def take(chunk: dict[str, Any]) -> bool:
            finished.extend([choice.get("finish_reason") for choice in chunk.get("choices", ())])
            return False

        asked = {"prompt": [0], "max_tokens": 2, "stream": True, "temperature": 0.0, "cache_prompt": False}
        self._server.complete({**asked, "logit_bias": [[token, 1000.0]]}, take)
        return "stop" in finished
