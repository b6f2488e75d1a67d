"""What Homeport adds to ONNX Runtime when a picture is drawn by diffusion.

`http` is a Homeport of its own process, asked for one picture of 512x512 as base64; `direct` is the network that draws,
run by ONNX Runtime in this process with the same settings, as often and with the same inputs. So all that is not the
network (the prompt's tokens, guidance, the scheduler, the VAE, which is tiny here, the PNG, HTTP) is what is added. The
network is built by the bench (bench/unet.py): no weights are needed. A round does each once, one after the other.
"""

import json
import statistics
import time
from dataclasses import asdict, dataclass, field
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import numpy

from bench import processes, unet
from bench.processes import KEY, NotStarted, Served
from bench.report import Goal, table
from tests import diffusion_models

#: Of a picture's latents, and the tokens of a prompt.
_SIDE, _TOKENS = 64, 77


@dataclass
class Diffusion:
    """wall, cpu: source -> seconds of a step, of each round. network: bytes of its weights. peak: bytes beyond what
    the server had before it drew; kept: of them, after a picture."""

    steps: int = 0
    network: int = 0
    wall: dict[str, list[float]] = field(default_factory=lambda: {"http": [], "direct": []})
    cpu: dict[str, list[float]] = field(default_factory=lambda: {"http": [], "direct": []})
    peak: int = 0
    kept: int = 0

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)

    def table(self) -> str:
        rows = [
            ["seconds of a step", *(f"{statistics.median(self.wall[name]):.3f}" for name in ("http", "direct"))],
            ["CPU seconds of a step", *(f"{statistics.median(self.cpu[name]):.3f}" for name in ("http", "direct"))],
            ["peak beyond rest", f"{self.peak / 1e6:.0f} MB", ""],
            ["of it kept after a picture", f"{self.kept / 1e6:.0f} MB", ""],
        ]
        head = [f"{self.network / 1e6:.0f} MB of weights, 512x512, {self.steps} steps", "http", "ONNX Runtime alone"]
        return "diffusion\n" + table(head, rows)

    def goals(self) -> list[Goal]:
        """All that a picture takes, its prompt read and its file written, is laid on its steps."""
        ratio = statistics.median(self.cpu["http"]) / statistics.median(self.cpu["direct"])
        return [Goal("CPU of a diffusion step, of ONNX Runtime's alone", ratio, 1.25, 1.05, unit="x")]


def run(folder: Path, *, rounds: int, steps: int) -> Diffusion:
    """Raises NotStarted."""
    model = diffusion_models.stable_diffusion(folder / "model", scheduler=diffusion_models.EULER, configs=False)
    network = model / "unet" / "model.onnx"
    unet.write(network)
    found = Diffusion(steps=steps, network=network.stat().st_size)
    settings = f'[models.bench]\npath = "{model}"\nthreads = 1\nsteps = {steps}\n'
    direct = _Direct(network, steps)
    with processes.homeport(folder, settings, core=processes.cores()[0]) as server:
        _draw(server, 0)  # whatever is slow the first time
        rest = server.rss()
        direct.run()
        for number in range(rounds):
            for name, work, cpu in (
                ("http", lambda seed=number: _draw(server, seed), server.cpu),
                ("direct", direct.run, time.process_time),
            ):
                before, began = cpu(), time.perf_counter()
                work()
                found.wall[name].append((time.perf_counter() - began) / steps)
                found.cpu[name].append((cpu() - before) / steps)
        found.peak, found.kept = server.peak() - rest, max(server.rss() - rest, 0)
    return found


class _Direct:
    """With the options that the engine has (backends/diffusion/sessions.py)."""

    def __init__(self, network: Path, steps: int) -> None:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads, options.inter_op_num_threads = 1, 1
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        self._session = onnxruntime.InferenceSession(str(network), options, providers=["CPUExecutionProvider"])
        self._steps = steps
        random = numpy.random.default_rng(1)
        self._given = {
            "sample": random.standard_normal((2, 4, _SIDE, _SIDE), numpy.float32),
            "timestep": numpy.array([500]),
            "encoder_hidden_states": random.standard_normal((2, _TOKENS, diffusion_models.WIDTH), numpy.float32),
        }

    def run(self) -> None:
        for _ in range(self._steps):
            self._session.run(None, self._given)


def _draw(server: Served, seed: int) -> None:
    """Raises NotStarted."""
    wanted = {
        "model": "bench",
        "prompt": "a red cat and two dogs",
        "size": "512x512",
        "response_format": "b64_json",
        "seed": seed,
    }
    connection = HTTPConnection("127.0.0.1", server.port, timeout=600)
    try:
        connection.request(
            "POST",
            "/v1/images/generations",
            json.dumps(wanted),
            {"Authorization": f"Bearer {KEY}", "Content-Type": "application/json"},
        )
        answer = connection.getresponse()
        body = answer.read()
        if answer.status != 200:
            raise NotStarted(f"the server answers {answer.status}: {body[:200].decode()}")
    finally:
        connection.close()
