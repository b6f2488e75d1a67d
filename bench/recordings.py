"""Recordings of people who speak, with what they say: what packages ship, brought by their own clients.

English: LibriVox readers (public domain), from Debian's `pocketsphinx-testdata`; Kennedy and Beckett as in the tests.
French, Spanish, Italian: prompts of a telephone exchange (CC-BY-SA), from Debian's `asterisk-core-sounds-LANGUAGE`,
each sentence as its script has it, which a reader does not always follow to the letter.
"""

import gzip
import io
import re
import shutil
import subprocess
import unicodedata
import wave
from pathlib import Path
from typing import NamedTuple

from bench.processes import NotStarted
from homeport.backends.models import PullError
from tests import model_files

FOLDER = model_files.FOLDER.parent / "speech"
PROMPTS = {"fr": "French", "es": "Spanish", "it": "Italian"}
#: Words of a prompt at least; shorter ones are names of digits and of keys.
_FEWEST = 8


class Recording(NamedTuple):
    """sound: a WAV file, 16 kHz. text: what is said."""

    name: str
    sound: bytes
    text: str


def english() -> list[Recording]:
    """Raises NotStarted: they cannot be had."""
    home = _unpacked("pocketsphinx-testdata") / "usr/share/pocketsphinx/test/data/librivox"
    told = re.findall(r"<s> (.*) </s> \((.*)\)", (home / "transcription").read_text())
    found = [Recording(name, (home / f"{name}.wav").read_bytes(), text) for text, name in told]
    return [*found, famous()]


def famous() -> Recording:
    """Kennedy, 11 seconds. Raises NotStarted."""
    text = "And so my fellow Americans ask not what your country can do for you ask what you can do for your country"
    try:
        return Recording("jfk", model_files.recording("jfk").read_bytes(), text)
    except PullError as error:
        raise NotStarted(str(error)) from None


def prompts(language: str, most: int) -> list[Recording]:
    """language: of PROMPTS. Raises NotStarted."""
    documents = _unpacked(f"asterisk-core-sounds-{language}") / "usr/share/doc"
    sounds = next((_unpacked(f"asterisk-core-sounds-{language}-g722") / "usr/share/asterisk/sounds").iterdir())
    script = gzip.decompress(next(documents.rglob(f"core-sounds-{language}.txt.gz")).read_bytes()).decode("utf-8-sig")
    found: list[Recording] = []
    for line in script.splitlines():
        name, _, text = line.partition(": ")
        file = sounds / f"{name}.g722"
        if len(words(text)) >= _FEWEST and not re.search(r"[\d\[(<]", text) and file.is_file():
            found.append(Recording(name, _as_wav(file), text))
    return sorted(found)[:: max(1, len(found) // most)][:most]


def words(text: str) -> list[str]:
    """Without capitals, marks and accents, which not every script has."""
    plain = unicodedata.normalize("NFKD", text.lower())
    return re.findall(r"[^\W_]+", "".join(one for one in plain if not unicodedata.combining(one)))


def wrong(said: str, heard: str) -> int:
    """Words to be changed, left out or put in (Levenshtein's distance)."""
    wanted, got = words(said), words(heard)
    row = list(range(len(got) + 1))
    for at, one in enumerate(wanted, 1):
        last, row[0] = row[0], at
        for place, other in enumerate(got, 1):
            last, row[place] = row[place], min(row[place] + 1, row[place - 1] + 1, last + (one != other))
    return row[-1]


def _as_wav(file: Path) -> bytes:
    """G.722 is a telephone's codec of 16 kHz, which OpenAI does not take."""
    import av

    to = io.BytesIO()
    with wave.open(to, "wb") as written, av.open(str(file), format="g722") as opened:
        written.setparams((1, 2, 16_000, 0, "NONE", ""))
        for frame in opened.decode(audio=0):
            written.writeframes(frame.to_ndarray().astype("<i2").tobytes())
    return to.getvalue()


def _unpacked(package: str) -> Path:
    """Debian's package, its files in a folder. Raises NotStarted."""
    home = FOLDER / package
    if home.is_dir():
        return home
    if shutil.which("apt-get") is None or shutil.which("dpkg-deb") is None:
        raise NotStarted(f"Recordings are in Debian's {package}, and there is no apt-get to bring it.")
    partial = FOLDER / f"{package}.partial"
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    done = subprocess.run(
        ["apt-get", "download", "-q", package], cwd=partial, capture_output=True, text=True, check=False
    )
    files = [*partial.glob("*.deb")]
    if not files:
        raise NotStarted(f"apt-get download {package}: {done.stderr.strip()[-300:]} (apt-get update first?)")
    subprocess.run(["dpkg-deb", "-x", str(files[0]), str(partial)], check=True)
    files[0].unlink()
    partial.rename(home)
    return home
