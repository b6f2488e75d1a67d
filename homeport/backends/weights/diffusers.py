"""Which files of a diffusion model are needed, of all that a repository or a folder of one has. Source: the layout that
diffusers and Optimum give such models in ONNX (backends/diffusion/folder.py).

A network's weights may lie beside it, in one or many files of plain numbers that it names: `model.onnx_data`,
`model.onnx.data`, `weights.pb`. Unlike a pickle they are not read as anything: ONNX Runtime maps them into memory, and
the network says which bytes are which tensor. So they are taken, and pickles (`.bin`, `.ckpt`) never are.
"""

import re
from collections.abc import Iterable

from homeport.backends.weights.errors import UnknownModel

INDEX = "model_index.json"
_SCHEDULER = "scheduler/scheduler_config.json"
_NETWORK = re.compile(
    r"(text_encoder(_2)?|unet|transformer|vae_decoder|vae_encoder)/"
    r"(config\.json|model\.onnx|model\.onnx[._]data(_\d+)?|weights\.pb)"
)
_WORDS = re.compile(r"tokenizer(_2)?/(vocab\.json|merges\.txt|tokenizer_config\.json|special_tokens_map\.json)")
_DRAWING = ("unet/model.onnx", "transformer/model.onnx")


def needed(names: Iterable[str], where: str) -> list[str]:
    """names: all, with `/`; one of them is INDEX. Raises UnknownModel: there is no such model in ONNX."""
    there = set(names)
    found = sorted(one for one in there if _is_needed(one))
    missing = [one for one in (_SCHEDULER, "text_encoder/model.onnx", "tokenizer/vocab.json") if one not in there]
    if not there.intersection(_DRAWING):
        missing.insert(0, _DRAWING[0])
    if missing:
        raise UnknownModel(
            f"{where} is a diffusion model without {', '.join(missing)}. It must be in ONNX: look for a repository or "
            "a branch with it (hf:OWNER/REPO@onnx), or export it: `optimum-cli export onnx --model OWNER/REPO FOLDER`, "
            "and then `homeport pull FOLDER`."
        )
    return found


def _is_needed(name: str) -> bool:
    plain = name in (INDEX, _SCHEDULER, "vae/config.json") or bool(_WORDS.fullmatch(name))
    return plain or bool(_NETWORK.fullmatch(name))
