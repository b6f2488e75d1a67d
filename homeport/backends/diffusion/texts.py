"""A prompt as the network that draws is told it."""

from collections.abc import Mapping

import numpy

from homeport.backends.diffusion.clip import ClipTokenizer
from homeport.backends.diffusion.folder import Parts
from homeport.backends.diffusion.sessions import Array, Network, Stop

#: What the network that draws is told, by its inputs' names; each for one picture.
Told = Mapping[str, Array]


class Texts:
    """One encoder, as Stable Diffusion 1 and 2 have it, or SDXL's two."""

    def __init__(self, parts: Parts, threads: int) -> None:
        """Raises ValueError."""
        self._zeros = parts.zeros
        self._readers = [(Network(path, threads), tokenizer) for path, tokenizer in parts.texts]
        for network, tokenizer in self._readers:
            network.wants(("input_ids",), ("attention_mask",))
            length = network.fixed("input_ids", 1)
            if length is not None and length != tokenizer.length:
                raise ValueError(f"{network.path} reads {length} tokens, and its tokenizer gives {tokenizer.length}")
            if parts.pipeline.two_texts and len(_layers(network)) < 2:
                raise ValueError(f"{network.path} was exported without its layers (hidden_states), and SDXL wants one")
        self._two = parts.pipeline.two_texts

    @property
    def room(self) -> int:
        """Tokens of a prompt."""
        return min(tokenizer.room for _, tokenizer in self._readers)

    def count(self, prompt: str) -> int:
        """Tokens, at most of all that read it."""
        return max(len(tokenizer.ids(prompt)) for _, tokenizer in self._readers)

    def told(self, prompt: str, stop: Stop) -> Told:
        if not self._two:
            network, tokenizer = self._readers[0]
            (states,) = _run(network, tokenizer, prompt, [_last(network)], stop)
            return {"encoder_hidden_states": states}
        layers: list[Array] = []
        summaries: list[Array] = []
        for network, tokenizer in self._readers:
            layer, *pooled = _run(network, tokenizer, prompt, [_layers(network)[-2], _summary(network)], stop)
            layers.append(layer)
            summaries += pooled
        told = {"encoder_hidden_states": numpy.concatenate(layers, axis=-1), "text_embeds": summaries[-1]}
        if self._zeros and not prompt:
            return {name: numpy.zeros_like(value) for name, value in told.items()}
        return told


def _run(network: Network, tokenizer: ClipTokenizer, prompt: str, outputs: list[str], stop: Stop) -> list[Array]:
    ids = numpy.array([tokenizer.padded(prompt)], numpy.int64)
    given = {"input_ids": ids, "attention_mask": numpy.ones_like(ids)}
    return network.run({name: value for name, value in given.items() if name in network.inputs}, outputs, stop)


def _last(network: Network) -> str:
    return "last_hidden_state" if "last_hidden_state" in network.outputs else network.outputs[0]


def _summary(network: Network) -> str:
    return "text_embeds" if "text_embeds" in network.outputs else network.outputs[0]


def _layers(network: Network) -> list[str]:
    return [name for name in network.outputs if name.startswith("hidden_states")]
