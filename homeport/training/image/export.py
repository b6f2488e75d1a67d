"""A trained model as ONNX, in a folder that Homeport's engine `diffusion` reads (backends/diffusion/folder.py).

It is diffusers' layout: a tokenizer of CLIP's form, FlowMatchEulerDiscreteScheduler, a text encoder and a network
`unet`. There is no VAE, for the model draws pixels.
"""

import json
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from homeport.training.image import scenes, words
from homeport.training.image.checkpoint import State
from homeport.training.image.network import TEXT, TIMES, Model
from homeport.training.image.refusal import Refused

_OPSET = 18
_PIPELINE = "HomeportFlowPipeline"


def write(folder: Path, state: State, model: Model) -> None:
    if (folder / "model_index.json").exists():
        raise Refused(f"{folder} has a model already: give another folder by --out.")
    try:
        _texts(folder, state)
        _graphs(folder, model)
        _json(folder / "model_index.json", _index())  # last: without it the folder is no model
    except OSError as error:
        raise Refused(f"--out {folder}: {error.strerror or error}.") from None


def _texts(folder: Path, state: State) -> None:
    tokenizer = folder / "tokenizer"
    _json(tokenizer / "vocab.json", state.words.vocabulary)
    merges = "\n".join(["#version: 0.2", *(" ".join(pair) for pair in state.words.merges), ""])
    (tokenizer / "merges.txt").write_text(merges, "utf-8")
    ends = {"bos_token": words.START, "eos_token": words.END, "pad_token": words.END, "unk_token": words.END}
    _json(tokenizer / "special_tokens_map.json", ends)
    _json(
        tokenizer / "tokenizer_config.json",
        {"tokenizer_class": "CLIPTokenizer", "model_max_length": words.LENGTH, "do_lower_case": True, **ends},
    )
    flow = {"num_train_timesteps": TIMES, "shift": 1.0, "use_dynamic_shifting": False}
    _json(folder / "scheduler" / "scheduler_config.json", {"_class_name": "FlowMatchEulerDiscreteScheduler", **flow})
    _json(
        folder / "unet" / "config.json",
        {
            "_class_name": "UNet2DConditionModel",
            "sample_size": scenes.SIDE,
            "in_channels": 3,
            "out_channels": 3,
            "cross_attention_dim": TEXT,
        },
    )
    _json(folder / "text_encoder" / "config.json", {"hidden_size": TEXT, "max_position_embeddings": words.LENGTH})


def _graphs(folder: Path, model: Model) -> None:
    """With any number of pictures, of any size whose sides are multiples of 8; it was taught one."""
    sample, times = torch.zeros(2, 3, scenes.SIDE, scenes.SIDE), torch.full((2,), 500.0)
    ids = torch.full((2, words.LENGTH), model.text.end)
    with torch.no_grad():
        hidden = model.text(ids)
    _export(folder / "text_encoder", model.text, {"input_ids": ids}, "last_hidden_state", {"input_ids": _TEXTS})
    _export(
        folder / "unet",
        model.unet,
        {"sample": sample, "timestep": times, "encoder_hidden_states": hidden},
        "out_sample",
        {"sample": {0: "batch", 2: "height", 3: "width"}, "timestep": {0: "batch"}, "encoder_hidden_states": _TEXTS},
    )


_TEXTS = {0: "batch", 1: "length"}


def _export(
    folder: Path, module: nn.Module, inputs: Mapping[str, Tensor], output: str, axes: Mapping[str, Mapping[int, str]]
) -> None:
    """By the older of PyTorch's two ways: the newer one takes a minute of a core instead of a second, needs another
    package (onnxscript), and fixed the pictures' size (torch 2.13)."""
    folder.mkdir(parents=True, exist_ok=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            module,
            tuple(inputs.values()),
            folder / "model.onnx",
            input_names=list(inputs),
            output_names=[output],
            dynamic_axes={**axes, output: axes[next(iter(inputs))]},
            opset_version=_OPSET,
            dynamo=False,
        )


def _index() -> dict[str, Any]:
    network = ["homeport", "model.onnx"]
    return {
        "_class_name": _PIPELINE,
        "scheduler": ["diffusers", "FlowMatchEulerDiscreteScheduler"],
        "text_encoder": network,
        "tokenizer": ["transformers", "CLIPTokenizer"],
        "unet": network,
    }


def _json(file: Path, value: Any) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(value, indent=2, ensure_ascii=False) + "\n", "utf-8")
