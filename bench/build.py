"""Compiles the two C programs of the bench into build/bench, once for each version of their source."""

import os
import shutil
import subprocess
from functools import cache
from pathlib import Path

HERE = Path(__file__).parent
FOLDER = HERE.parent / "build" / "bench"
INSTALL_GCC = "The bench needs a C compiler: apt-get install gcc libc6-dev"


class NotBuilt(Exception):
    """There is no compiler, or the source does not compile."""


@cache
def program(name: str) -> Path:
    """The executable of `bench/NAME.c`. Raises NotBuilt."""
    source, made = HERE / f"{name}.c", FOLDER / name
    if made.exists() and made.stat().st_mtime > source.stat().st_mtime:
        return made
    compiler = shutil.which("gcc") or shutil.which("cc")
    if compiler is None:
        raise NotBuilt(INSTALL_GCC)
    FOLDER.mkdir(parents=True, exist_ok=True)
    partial = FOLDER / f"{name}.{os.getpid()}"
    done = subprocess.run([compiler, "-O2", "-o", partial, source], capture_output=True, text=True)
    if done.returncode != 0:
        raise NotBuilt(f"{source} does not compile:\n{done.stderr}\n{INSTALL_GCC}")
    partial.replace(made)
    return made
