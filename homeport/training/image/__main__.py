"""`python -m homeport.training.image train|sample|export`: see `--help` of each, and docs/training-images.md."""

import argparse
import importlib.util
import signal
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

from homeport.training.image.refusal import Refused

if TYPE_CHECKING:
    from homeport.training.image.checkpoint import Settings

_NEEDED = ("torch", "safetensors", "numpy", "PIL", "resvg_py", "onnx")
_STOPPED = 128

_ABOUT = """\
Trains a small text-to-image model (rectified flow, 64 by 64 pixels) on pictures that are composed of the art of
scene-1, draws with it, and exports it for Homeport's `diffusion` engine."""
_TRAIN = """\
Trains until --steps are done, or --minutes have passed, or it is told to stop (SIGTERM, Ctrl-C): in each case it saves
what it has, and goes on from there with --resume as if it had never stopped (on a CPU, bit for bit).

The folder of --out gets checkpoint.safetensors (what a run goes on from), model.safetensors (the averaged weights:
what `sample` and `export` read) and losses.csv (loss of each step; now and then that of pairs of a drawing and a ground
that are never trained on)."""
_EXAMPLES = """\
examples:
  homeport pull scene-1
  python -m homeport.training.image train --data ~/.homeport/models/scene-1 --out run --minutes 60
  python -m homeport.training.image train --data ~/.homeport/models/scene-1 --out run --resume
  python -m homeport.training.image sample --model run --prompt "two foxes on a blue background" --out foxes.png
  python -m homeport.training.image export --model run --out flow-1"""


def main(arguments: Sequence[str] | None = None) -> int:
    parser = _parser()
    given = parser.parse_args(arguments)
    missing = [name for name in _NEEDED if importlib.util.find_spec(name) is None]
    try:
        if missing:
            raise Refused(f"It needs {', '.join(missing)}: pip install 'homeport[train]'.")
        status: int = given.command(given)
    except Refused as error:
        print(f"{parser.prog}: {error}", file=sys.stderr)
        return 2
    return status


def _train(given: argparse.Namespace) -> int:
    from homeport.training.image.run import Run

    device = _device(given.device, given.threads)
    told = {name: value for name, value in vars(given).items() if name in _SETTINGS and value is not None}
    if given.resume:
        if told:
            raise Refused(f"--resume goes on with the run's own settings: leave out --{', --'.join(told)}.")
        run = Run.resumed(given.out, given.data, device)
    else:
        run = Run.new(given.out, given.data, _settings(told), device)
    parameters = sum(parameter.numel() for parameter in run.model.parameters())
    _say(f"{len(run.drawings)} drawings, {parameters / 1e6:.1f} million parameters, on {device}")
    end = None if given.minutes is None else time.monotonic() + 60 * given.minutes
    with _signals() as signals:
        run.go(
            stopped=lambda: bool(signals) or (end is not None and time.monotonic() >= end), save_every=given.save_every
        )
    if not run.finished:
        _say(f"stopped at step {run.state.step} of {run.state.settings.steps}: --resume goes on")
    return _STOPPED + signals[0] if signals and not run.finished else 0


@contextmanager
def _signals() -> Iterator[list[int]]:
    """Those that want an end, as they come."""
    signals: list[int] = []

    def note(number: int, _: FrameType | None) -> None:
        signals.append(number)

    before = {number: signal.signal(number, note) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield signals
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _sample(given: argparse.Namespace) -> int:
    import torch

    from homeport.training.image import checkpoint, flow, sheet

    device = _device(given.device, given.threads)
    state, model = checkpoint.trained(given.model)
    for prompt in given.prompt:
        unknown = state.words.unknown(prompt)
        if unknown:
            _say(f"{prompt!r}: it does not know {', '.join(map(repr, unknown))}")
    ids = torch.tensor([state.words.ids(prompt) for prompt in given.prompt for _ in range(given.count)])
    seeds = [given.seed + at for _ in given.prompt for at in range(given.count)]
    pictures = flow.sample(model.to(device), ids.to(device), seeds=seeds, steps=given.steps, guidance=given.guidance)
    sheet.save(given.out, pictures, columns=given.count, times=given.scale)
    return 0


def _export(given: argparse.Namespace) -> int:
    from homeport.training.image import checkpoint, export

    state, model = checkpoint.trained(given.model)
    export.write(given.out, state, model)
    return 0


def _device(name: str | None, threads: int | None) -> Any:
    import torch

    if threads is not None:
        torch.set_num_threads(threads)
    if name == "cuda" and not torch.cuda.is_available():
        raise Refused("--device cuda: PyTorch finds no graphics card here.")
    return torch.device(name or ("cuda" if torch.cuda.is_available() else "cpu"))


def _settings(told: dict[str, Any]) -> "Settings":
    from homeport.training.image.checkpoint import Settings

    settings = replace(Settings(), **told)
    if settings.width % 16:
        raise Refused(f"--width {settings.width}: it has to be a multiple of 16.")
    return settings


_SETTINGS = ("drawings", "steps", "batch", "width", "rate", "warmup", "seed")


def _parser() -> argparse.ArgumentParser:
    form = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(
        "python -m homeport.training.image", description=_ABOUT, epilog=_EXAMPLES, formatter_class=form
    )
    commands = parser.add_subparsers(required=True, metavar="train|sample|export")

    train = commands.add_parser(
        "train", help="train a model, or go on with it", description=_TRAIN, formatter_class=form
    )
    train.set_defaults(command=_train)
    train.add_argument(
        "--data", type=Path, required=True, metavar="FOLDER", help="of the art: see `homeport pull scene-1`"
    )
    train.add_argument("--out", type=Path, required=True, metavar="FOLDER", help="of the run")
    train.add_argument("--resume", action="store_true", help="go on with the run in --out, by its own settings")
    train.add_argument("--minutes", type=_positive(float), help="stop then; the steps' schedule does not change by it")
    train.add_argument(
        "--save-every",
        type=_positive(int),
        default=500,
        metavar="STEPS",
        help="and compute the loss of what is held out (500)",
    )
    _device_arguments(train)
    settings = train.add_argument_group("the run's own settings")
    settings.add_argument(
        "--steps", type=_positive(int), help="in all; the rate falls along half a cosine to there (20000)"
    )
    settings.add_argument("--batch", type=_positive(int), metavar="PICTURES", help="of a step (32)")
    settings.add_argument(
        "--width",
        type=_positive(int),
        metavar="CHANNELS",
        help="of the network, a multiple of 16: 48 is 3 million parameters, 64 is 5 (48)",
    )
    settings.add_argument(
        "--drawings",
        type=_listed,
        metavar="LIST",
        help="kinds (animals, food, travel, objects, activities) and names (red-apple), with commas (all kinds)",
    )
    settings.add_argument("--rate", type=_positive(float), help="of learning, at its highest (0.001)")
    settings.add_argument("--warmup", type=_positive(int), metavar="STEPS", help="in which the rate rises (200)")
    settings.add_argument("--seed", type=_natural, help="of everything that is left to chance (0)")

    sample = commands.add_parser("sample", help="draw with a trained model", formatter_class=form)
    sample.set_defaults(command=_sample)
    sample.add_argument("--model", type=Path, required=True, metavar="FOLDER", help="of a run")
    sample.add_argument(
        "--prompt", action="append", required=True, help="may be given again: a row of the picture each"
    )
    sample.add_argument("--out", type=Path, required=True, metavar="FILE.png")
    sample.add_argument("--count", type=_positive(int), default=1, help="pictures a prompt (1)")
    sample.add_argument("--steps", type=_positive(int), default=25, help="of drawing (25)")
    sample.add_argument(
        "--guidance", type=float, default=3.0, help="how strictly it follows the prompt; 1 is as it was trained (3)"
    )
    sample.add_argument("--scale", type=_positive(int), default=1, metavar="TIMES", help="make the pixels larger (1)")
    sample.add_argument("--seed", type=_natural, default=0, help="of the first picture of a prompt (0)")
    _device_arguments(sample)

    export = commands.add_parser(
        "export", help="write a trained model as ONNX, for the engine `diffusion`", formatter_class=form
    )
    export.set_defaults(command=_export)
    export.add_argument("--model", type=Path, required=True, metavar="FOLDER", help="of a run")
    export.add_argument(
        "--out", type=Path, required=True, metavar="FOLDER", help="that Homeport's models.NAME.path may be"
    )
    return parser


def _device_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--device", choices=("cpu", "cuda"), help="default: the graphics card, if there is one")
    parser.add_argument("--threads", type=_positive(int), help="of the CPU (default: PyTorch's choice)")


def _positive(kind: type[int] | type[float]) -> Any:
    def read(text: str) -> float:
        value = kind(text)
        if not 0 < value < float("inf"):
            raise ValueError(text)
        return value

    read.__name__ = f"positive {'whole ' if kind is int else ''}number"
    return read


def _natural(text: str) -> int:
    value = int(text)
    if value < 0:
        raise ValueError(text)
    return value


_natural.__name__ = "whole number from 0 on"


def _listed(text: str) -> tuple[str, ...]:
    return tuple(dict.fromkeys(part.strip() for part in text.split(",") if part.strip()))


_listed.__name__ = "list"


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
