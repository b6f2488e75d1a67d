"""How good the moderation model of this machine is, on samples that others have labelled; and how it is made.

    python bench/moderations.py --samples samples-1680.jsonl.gz     (openai/moderation-api-release, data/)
    python bench/moderations.py --fit                               makes homeport/backends/moderation/heads.json anew

The samples are JSON, one a line: `prompt`, and 1 or 0 for each category that is known. The first half of them (by their
hash) is the one that thresholds were chosen on; what is told is the other half. Beside the model stands what the words
of its lexicon tell alone, and the vectors alone, each fitted in the same way.
"""

import argparse
import asyncio
import gzip
import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import numpy

from homeport.backends import models
from homeport.backends.engines.onnx import Onnx
from homeport.backends.moderation import fitting, heads
from homeport.backends.moderation.categories import CATEGORIES
from homeport.backends.moderation.heads import Heads
from homeport.backends.moderation.windows import windows
from homeport.settings import DEFAULT_EMBEDDING_MODEL

#: The samples' names of the categories.
NAMES = {
    "S": "sexual",
    "S3": "sexual/minors",
    "H": "hate",
    "H2": "hate/threatening",
    "HR": "harassment",
    "SH": "self-harm",
    "V": "violence",
    "V2": "violence/graphic",
}
HEADS = Path(heads.__file__).with_name("heads.json")
_AT_ONCE = 64


class Sample(NamedTuple):
    text: str
    labels: dict[str, bool]
    held_out: bool


def samples(file: Path) -> list[Sample]:
    found = []
    for line in gzip.open(file, "rt", encoding="utf-8"):
        one = json.loads(line)
        labels = {NAMES[name]: bool(value) for name, value in one.items() if name in NAMES}
        held_out = hashlib.sha256(one["prompt"].encode()).digest()[-1] % 2 == 1
        found.append(Sample(one["prompt"], labels, held_out))
    return found


async def vectors(texts: Sequence[str], model: Path) -> list[bytes]:
    engine = Onnx(model)
    await engine.start()
    found = []
    for begin in range(0, len(texts), _AT_ONCE):
        found += [one.data for one in await engine.embed(texts[begin : begin + _AT_ONCE])]
    await engine.close()
    return found


def fit(model: Path) -> heads.Kept:
    given = fitting.sentences()
    *known, probe = asyncio.run(vectors([*(one.text for one in given), heads.PROBE], model))
    return fitting.fitted(given, known, probe)


def scored(made: Heads, pieces: Sequence[Sequence[str]], data: Sequence[bytes]) -> list[dict[str, float]]:
    flat = made.scores([piece for of_one in pieces for piece in of_one], data)
    each = iter(flat)
    return [heads.worst([next(each) for _ in of_one]) for of_one in pieces]


class Quality(NamedTuple):
    positive: int
    known: int
    precision: float
    recall: float
    false_alarms: float
    auprc: float


def quality(scores: Sequence[float], labels: Sequence[bool]) -> Quality:
    score, label = numpy.array(scores), numpy.array(labels)
    flagged = score >= 0.5
    hits, positive = int((flagged & label).sum()), int(label.sum())
    order = numpy.argsort(-score, kind="stable")
    ranked = label[order]
    precisions = numpy.cumsum(ranked) / numpy.arange(1, len(ranked) + 1)
    return Quality(
        positive,
        len(labels),
        hits / max(1, int(flagged.sum())),
        hits / max(1, positive),
        int((flagged & ~label).sum()) / max(1, len(labels) - positive),
        float((precisions * ranked).sum() / max(1, positive)),
    )


def told(given: Sequence[Sample], model: Path) -> None:
    held_out = [one for one in given if one.held_out]
    pieces = [list(windows(one.text)) for one in held_out]
    data = asyncio.run(vectors([piece for of_one in pieces for piece in of_one], model))
    kept = msgspec.json.decode(HEADS.read_bytes(), type=heads.Kept)
    width = len(data[0]) // 4
    lone = [_fitted_without(model, slice(0, width)), _fitted_without(model, slice(width, -1))]
    all_scores = [scored(Heads(one), pieces, data) for one in (kept, *lone)]
    print("| category | samples | of it | precision | recall | false alarms | AUPRC | words alone | vectors alone |")
    print("| --- | --- | --- | --- | --- | --- | --- | --- | --- |")
    for category in CATEGORIES:
        known = [at for at, one in enumerate(held_out) if category in one.labels]
        if not known:
            continue
        labels = [held_out[at].labels[category] for at in known]
        whole, words, alone = (quality([one[at][category] for at in known], labels) for one in all_scores)
        print(
            f"| {category} | {whole.known} | {whole.positive} | {whole.precision:.2f} | {whole.recall:.2f} "
            f"| {whole.false_alarms:.1%} | {whole.auprc:.2f} | {words.auprc:.2f} | {alone.auprc:.2f} |"
        )
    clean = [at for at, one in enumerate(held_out) if not any(one.labels.values())]
    alarms = sum(any(score >= 0.5 for score in all_scores[0][at].values()) for at in clean)
    print(
        f"\nOf the {len(clean)} samples without any label, {alarms} ({alarms / len(clean):.1%}) are flagged for "
        "something."
    )


def _fitted_without(model: Path, part: slice) -> heads.Kept:
    given = fitting.sentences()
    *known, probe = asyncio.run(vectors([*(one.text for one in given), heads.PROBE], model))
    return fitting.fitted(given, known, probe, without=part)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--samples", type=Path)
    parser.add_argument("--fit", action="store_true")
    parser.add_argument("--models", type=Path, default=Path("~/.homeport/models").expanduser(), help="folder of models")
    chosen: Any = parser.parse_args(arguments)
    model = models.find(DEFAULT_EMBEDDING_MODEL, chosen.models)
    if model is None:
        parser.exit(1, f"There is no {DEFAULT_EMBEDDING_MODEL} in {chosen.models}: homeport pull\n")
    if chosen.fit:
        HEADS.write_bytes(msgspec.json.format(msgspec.json.encode(fit(model))) + b"\n")
    if chosen.samples is not None:
        told(samples(chosen.samples), model)


if __name__ == "__main__":
    main()
