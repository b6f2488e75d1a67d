"""What is composed: how long a drawing takes, through HTTP and by the engine alone, how long others wait meanwhile, and
what it takes of memory.

`http` is a Homeport of its own process, asked for base64; `direct` is the same engine class in this process, called
through its seam for the same prompts and seeds, and its pictures encoded. A round does each once, one after the other;
CPU seconds are compared.
"""

import asyncio
import json
import statistics
import time
from dataclasses import asdict, dataclass, field
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

from bench import processes
from bench.processes import KEY, NotStarted, Served
from bench.report import Goal, table
from homeport.backends.drawing import Wish
from homeport.backends.engines.scene import Scene
from homeport.backends.local import pictures
from homeport.backends.models import PullError
from tests import model_files

SIDES = (512, 1024)
LARGEST = 4096
PROMPTS = (
    "three red apples and a pear on a wooden table",
    "a red house between two trees, the sun above it, two dogs and a cat in a meadow",
    "a green car and a yellow bus in the city in the rain",
    "six tropical fish and an octopus under water",
)
#: Milliseconds between two looks at how long others wait.
_BEAT = 0.002


@dataclass
class Scenes:
    """cpu: side -> source -> CPU seconds of all prompts, of each round. wall: side -> seconds of each request. waits:
    side -> the longest that anything else in the engine's process had to wait, in ms, by rounds. peak: bytes that the
    largest picture takes, beyond what the server held before."""

    cpu: dict[int, dict[str, list[float]]] = field(default_factory=dict)
    wall: dict[int, list[float]] = field(default_factory=dict)
    waits: dict[int, list[float]] = field(default_factory=dict)
    peak: int = 0

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)

    def ratio(self, side: int) -> float:
        """What HTTP, JSON and the gateway add."""
        cpu = self.cpu[side]
        return statistics.median(ours / alone for ours, alone in zip(cpu["http"], cpu["direct"], strict=True))

    def per_second(self, side: int) -> float:
        return len(PROMPTS) / statistics.median(self.cpu[side]["http"])

    def table(self) -> str:
        rows = [
            [
                f"{side} x {side}",
                f"{self.per_second(side):.1f}",
                f"{statistics.median(self.wall[side]):.2f} s",
                f"{self.ratio(side):.2f}",
                f"{statistics.median(self.waits[side]):.0f} ms",
            ]
            for side in self.cpu
        ]
        head = [
            "scene-1",
            "pictures a CPU second",
            "one, of the wall",
            "CPU, of the engine alone",
            "longest that others waited",
        ]
        peak = f"{LARGEST} x {LARGEST}: {self.peak / 1e6:.0f} MB beyond what was held before"
        return f"images\n{table(head, rows)}\n\n{peak}"

    def goals(self) -> list[Goal]:
        return [
            Goal(f"CPU of a drawing of {side} pixels, of the engine's", self.ratio(side), 2.0, 1.4, unit="x")
            for side in self.cpu
        ] + [
            Goal(f"CPU seconds of a drawing of {side} pixels", 1 / self.per_second(side), 0.15, 0.1, unit=" s")
            for side in self.cpu
        ]


def run(folder: Path, *, rounds: int) -> Scenes:
    """Raises NotStarted."""
    try:
        art = model_files.scene()
    except PullError as error:
        raise NotStarted(str(error)) from None
    settings = f'[models.scene-1]\nengine = "scene"\npath = "{art}"\n'
    found = Scenes()
    with processes.homeport(folder, settings, core=processes.cores()[0]) as server:
        asyncio.run(_compared(server, Scene(art), rounds, found))
        before = server.peak()
        _asked(server, PROMPTS[0], LARGEST, 1)
        found.peak = server.peak() - before
    return found


async def _compared(server: Served, engine: Scene, rounds: int, found: Scenes) -> None:
    await engine.start()
    try:
        for seed in range(rounds + 1):
            for side in SIDES:
                before = server.cpu()
                walls = [await asyncio.to_thread(_asked, server, prompt, side, seed) for prompt in PROMPTS]
                http = server.cpu() - before
                before = time.process_time()
                waited = await _drawn(engine, side, seed)
                direct = time.process_time() - before
                if seed == 0:  # the first has everything loaded
                    continue
                cpu = found.cpu.setdefault(side, {"http": [], "direct": []})
                cpu["http"].append(http)
                cpu["direct"].append(direct)
                found.wall.setdefault(side, []).extend(walls)
                found.waits.setdefault(side, []).append(1000 * waited)
    finally:
        await engine.close()


async def _drawn(engine: Scene, side: int, seed: int) -> float:
    """All prompts by the engine alone, as PNG. Returns the longest that this loop was kept from its work."""
    longest, done = 0.0, False

    async def beat() -> None:
        nonlocal longest
        while not done:
            began = time.perf_counter()
            await asyncio.sleep(_BEAT)
            longest = max(longest, time.perf_counter() - began - _BEAT)

    async with asyncio.TaskGroup() as group:
        group.create_task(beat())
        for prompt in PROMPTS:
            async for drawn in engine.draw(Wish("generation", prompt, side, side, seed)):
                await asyncio.to_thread(pictures.encode, drawn.pixels, "png", note=drawn.note)
        done = True
    return longest


def _asked(server: Served, prompt: str, side: int, seed: int) -> float:
    """Seconds."""
    wanted = {
        "model": "scene-1",
        "prompt": prompt,
        "size": f"{side}x{side}",
        "seed": seed,
        "response_format": "b64_json",
    }
    connection = HTTPConnection("127.0.0.1", server.port, timeout=600)
    try:
        began = time.perf_counter()
        headers = {"Authorization": f"Bearer {KEY}", "Content-Type": "application/json"}
        connection.request("POST", "/v1/images/generations", json.dumps(wanted), headers)
        answer = connection.getresponse()
        content = answer.read()
        assert answer.status == 200, content
        return time.perf_counter() - began
    finally:
        connection.close()
