"""Diffusion models of a few kB in diffusers' layout for ONNX, with seeded random weights.

Their pictures show nothing; but each depends on its prompt, its noise and its steps as a real model's does, through
networks with the same inputs and outputs.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy
from onnx import TensorProto, helper, numpy_helper, save_model

#: Width of the text encoders' vectors, and their tokens.
WIDTH = 8
LENGTH = 77
#: Pixels of a latent's side.
FACTOR = 8
_FLOATS = {"float32": TensorProto.FLOAT, "float16": TensorProto.FLOAT16}
_NAMES = {"float32": numpy.float32, "float16": numpy.float16}
#: A word of these has one token for each of its letters, and then some pairs are merged.
_MERGES = [("c", "a"), ("ca", "t</w>"), ("d", "o"), ("do", "g</w>"), ("r", "e"), ("re", "d</w>")]


def stable_diffusion(
    folder: Path,
    *,
    kind: str = "OnnxStableDiffusionPipeline",
    scheduler: Mapping[str, Any] | None = None,
    floats: str = "float32",
    times: int = TensorProto.INT64,
    channels: int = 4,
    encoder: str | None = "latent_parameters",
    configs: bool = True,
    two_texts: bool = False,
    distilled: bool = False,
    size: int | None = None,
    batch: int | str = "batch",
    length: int = LENGTH,
    external: bool = False,
) -> Path:
    """Pictures of 64 x 64. encoder: the output of vae_encoder, None: there is none. configs: as Optimum has them; not
    as diffusers. size: of latents, of a network that takes no others; batch likewise. external: weights beside it."""
    made = _Made(folder, floats, external=external)
    _write(folder / "model_index.json", {"_class_name": kind, "_diffusers_version": "0.42.1"})
    _write(folder / "scheduler" / "scheduler_config.json", scheduler or DDIM)
    for suffix in ("", "_2") if two_texts else ("",):
        _tokenizer(folder / f"tokenizer{suffix}", length)
        made.text_encoder(suffix, layers=two_texts)
    made.unet(times, channels, size, batch=batch, two_texts=two_texts, distilled=distilled)
    made.vae(encoder)
    if configs:
        told: dict[str, Any] = {"in_channels": channels, "sample_size": 8, "down_block_types": ["A"]}
        _write(folder / "unet" / "config.json", told | ({"time_cond_proj_dim": 6} if distilled else {}))
        vae = {"block_out_channels": [1, 2, 3, 4], "latent_channels": 4, "scaling_factor": 0.5}
        _write(folder / "vae_decoder" / "config.json", vae)
    return folder


def flow(folder: Path) -> Path:
    """As `python -m homeport.training.image export` writes it: pixels, no VAE."""
    made = _Made(folder, "float32")
    _write(folder / "model_index.json", {"_class_name": "HomeportFlowPipeline"})
    _write(folder / "scheduler" / "scheduler_config.json", {"_class_name": "FlowMatchEulerDiscreteScheduler"})
    _tokenizer(folder / "tokenizer", 32)
    made.text_encoder("")
    made.unet(TensorProto.FLOAT, 3, None)
    _write(folder / "unet" / "config.json", {"in_channels": 3, "sample_size": 64, "down_block_types": ["A", "B", "C"]})
    return folder


DDIM = {
    "_class_name": "DDIMScheduler",
    "beta_schedule": "scaled_linear",
    "beta_start": 0.00085,
    "beta_end": 0.012,
    "set_alpha_to_one": False,
    "steps_offset": 1,
    "clip_sample": False,
}
PNDM = {**DDIM, "_class_name": "PNDMScheduler", "skip_prk_steps": True}
EULER = {**DDIM, "_class_name": "EulerDiscreteScheduler", "timestep_spacing": "leading"}
LCM = {**DDIM, "_class_name": "LCMScheduler", "steps_offset": 0}


class _Made:
    """Networks of one model: each with its own part of one row of random numbers."""

    def __init__(self, folder: Path, floats: str, *, external: bool = False) -> None:
        self._folder = folder
        self._floats = _FLOATS[floats]
        self._type = _NAMES[floats]
        self._random = numpy.random.RandomState(7)
        self._external = external

    def weights(self, name: str, *shape: int, scale: float = 1.0) -> Any:
        values = self._random.standard_normal(shape) * scale
        return numpy_helper.from_array(values.astype(self._type), name)

    def text_encoder(self, suffix: str, *, layers: bool = False) -> None:
        """An embedding, and with `layers` the outputs that SDXL's have."""
        nodes = [helper.make_node("Gather", ["words", "input_ids"], ["hidden_states.0"])]
        nodes.append(helper.make_node("Tanh", ["hidden_states.0"], ["last_hidden_state"]))
        outputs: list[tuple[str, Sequence[int | str]]] = [("last_hidden_state", ["batch", "sequence", WIDTH])]
        constants = [self.weights("words", _TOKENS, WIDTH)]
        if layers:
            nodes.append(helper.make_node("Sin", ["hidden_states.0"], ["hidden_states.1"]))
            nodes.append(helper.make_node("ReduceMean", ["hidden_states.1"], ["text_embeds"], axes=[1], keepdims=0))
            outputs.insert(0, ("text_embeds", ["batch", WIDTH]))
            outputs += [(f"hidden_states.{at}", ["batch", "sequence", WIDTH]) for at in range(2)]
        ids = helper.make_tensor_value_info("input_ids", TensorProto.INT32, ["batch", "sequence"])
        self.save(f"text_encoder{suffix}", nodes, [ids], outputs, constants)

    def unet(
        self,
        times: int,
        channels: int,
        size: int | None,
        *,
        batch: int | str = "batch",
        two_texts: bool = False,
        distilled: bool = False,
    ) -> None:
        """tanh(convolution + what is told + a little of the time): bounded, so that no way to a picture overflows."""
        out = channels if channels in (3, 4) else 4
        width = 2 * WIDTH if two_texts else WIDTH
        told = {"told": width}
        places = [batch, channels, size or "height", size or "width"]
        inputs = [
            helper.make_tensor_value_info("sample", self._floats, places),
            helper.make_tensor_value_info("timestep", times, ["steps"]),
            helper.make_tensor_value_info("encoder_hidden_states", self._floats, ["batch", "sequence", width]),
        ]
        nodes = [
            helper.make_node("Conv", ["sample", "kernel"], ["seen"], pads=[1, 1, 1, 1]),
            helper.make_node("ReduceMean", ["encoder_hidden_states"], ["told"], axes=[1], keepdims=0),
            helper.make_node("Cast", ["timestep"], ["time"], to=self._floats),
            helper.make_node("Mul", ["time", "thousandth"], ["share"]),
        ]
        if two_texts:
            told |= {"text_embeds": WIDTH, "time_ids": 6}
        if distilled:
            told |= {"timestep_cond": 6}
        constants = [self.weights("kernel", out, channels, 3, 3, scale=0.4)]
        constants.append(numpy_helper.from_array(numpy.array(0.001, self._type), "thousandth"))
        constants.append(numpy_helper.from_array(numpy.array([2, 3]), "axes"))
        last = "seen"
        for name, count in told.items():
            if name != "told":
                inputs.append(helper.make_tensor_value_info(name, self._floats, ["batch", count]))
            scale = 0.01 if name == "time_ids" else 1.0
            constants.append(self.weights(f"{name}.weights", count, out, scale=scale))
            nodes.append(helper.make_node("MatMul", [name, f"{name}.weights"], [f"{name}.flat"]))
            nodes.append(helper.make_node("Unsqueeze", [f"{name}.flat", "axes"], [f"{name}.wide"]))
            nodes.append(helper.make_node("Add", [last, f"{name}.wide"], [f"{name}.seen"]))
            last = f"{name}.seen"
        nodes.append(helper.make_node("Add", [last, "share"], ["all"]))
        nodes.append(helper.make_node("Tanh", ["all"], ["out_sample"]))
        self.save("unet", nodes, inputs, [("out_sample", ["batch", out, "height", "width"])], constants)

    def vae(self, encoder: str | None) -> None:
        kernel = self.weights("kernel", 4, 3, FACTOR, FACTOR, scale=0.04)
        nodes = [
            helper.make_node("ConvTranspose", ["latent_sample", "kernel"], ["pixels"], strides=[FACTOR, FACTOR]),
            helper.make_node("Tanh", ["pixels"], ["sample"]),
        ]
        latents = helper.make_tensor_value_info("latent_sample", self._floats, ["batch", 4, "height", "width"])
        self.save("vae_decoder", nodes, [latents], [("sample", ["batch", 3, "tall", "broad"])], [kernel])
        if encoder is None:
            return
        out = 8 if encoder == "latent_parameters" else 4
        kernel = self.weights("kernel", out, 3, FACTOR, FACTOR, scale=0.05)
        nodes = [helper.make_node("Conv", ["sample", "kernel"], [encoder], strides=[FACTOR, FACTOR])]
        pixels = helper.make_tensor_value_info("sample", self._floats, ["batch", 3, "height", "width"])
        self.save("vae_encoder", nodes, [pixels], [(encoder, ["batch", out, "tall", "broad"])], [kernel])

    def save(
        self,
        name: str,
        nodes: Sequence[Any],
        inputs: Sequence[Any],
        outputs: Sequence[tuple[str, Sequence[int | str]]],
        constants: Sequence[Any],
    ) -> None:
        given = [helper.make_tensor_value_info(one, self._floats, list(shape)) for one, shape in outputs]
        graph = helper.make_graph(list(nodes), name, list(inputs), given, list(constants))
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 14)], ir_version=8)
        path = self._folder / name / "model.onnx"
        path.parent.mkdir(parents=True, exist_ok=True)
        save_model(model, path, save_as_external_data=self._external, location="model.onnx_data", size_threshold=64)


def _vocabulary() -> dict[str, int]:
    """Letters of bytes, alone and at a word's end, and what is merged."""
    plain = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    letters = [*map(chr, plain), *(chr(256 + at) for at in range(256 - len(plain)))]
    tokens = [*letters, *(f"{one}</w>" for one in letters), *map("".join, _MERGES)]
    return {token: at for at, token in enumerate([*tokens, "<|startoftext|>", "<|endoftext|>"])}


_TOKENS = len(_vocabulary())


def _tokenizer(folder: Path, length: int) -> None:
    _write(folder / "vocab.json", _vocabulary())
    lines = ["#version: 0.2", *(" ".join(pair) for pair in _MERGES)]
    (folder / "merges.txt").write_text("\n".join(lines) + "\n", "utf-8")
    tokens = {"bos_token": "<|startoftext|>", "eos_token": "<|endoftext|>", "unk_token": "<|endoftext|>"}
    _write(folder / "special_tokens_map.json", {**tokens, "pad_token": {"content": "<|endoftext|>", "lstrip": False}})
    _write(folder / "tokenizer_config.json", {"model_max_length": length, "tokenizer_class": "CLIPTokenizer"})


def _write(path: Path, value: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value), "utf-8")
