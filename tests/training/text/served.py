"""What llama.cpp says to a prompt: the other side of every comparison here."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from homeport.backends.engines.llama_server import LlamaServer, parameters


class Said(NamedTuple):
    """tokens: the likeliest, one after the other. logprobs: before each of them, of every token by its number."""

    tokens: list[int]
    logprobs: list[dict[int, float]]


class Served:
    def __init__(self, server: LlamaServer) -> None:
        self._server = server

    def tokens(self, text: str) -> list[int]:
        """Names of special tokens are these."""
        return self._server.tokens(text, special=True)

    def greedy(self, prompt: Sequence[int], most: int, *, logprobs: int = 1) -> Said:
        """logprobs: of so many tokens each."""
        entries: list[Any] = []
        asked = {
            "prompt": list(prompt),
            "max_tokens": most,
            "stream": True,
            "cache_prompt": False,
            "samplers": ["temperature"],
            "temperature": 0.0,
            "repeat_penalty": 1.0,
            "n_probs": logprobs,
        }

        def take(chunk: dict[str, Any]) -> bool:
            assert "error" not in chunk, chunk
            entries.extend((chunk["choices"][0]["logprobs"] or {}).get("content", ()) if chunk.get("choices") else ())
            return False

        self._server.library.handle_completions(asked, take)
        return Said(
            [entry["id"] for entry in entries],
            [{one["id"]: one["logprob"] for one in entry["top_logprobs"]} for entry in entries],
        )


@contextmanager
def served(path: Path, adapter: Path | None = None) -> Iterator[Served]:
    """As exactly as it can: with keys and values of 32 bits, which its fused attention would round."""
    import xllamacpp

    wanted = parameters(path, threads=1)
    wanted.n_ctx = 512
    wanted.n_parallel = 1
    wanted.cache_type_k = wanted.cache_type_v = xllamacpp.ggml_type.GGML_TYPE_F32
    wanted.flash_attn_type = xllamacpp.llama_flash_attn_type.LLAMA_FLASH_ATTN_TYPE_DISABLED
    if adapter is not None:
        wanted.lora_adapters = [xllamacpp.CommonAdapterLoraInfo(str(adapter), 1.0)]
    server = LlamaServer(path, wanted)
    try:
        one = Served(server)
        one.greedy([1], 1)  # before it has answered once it must not be closed
        yield one
    finally:
        server.close()
