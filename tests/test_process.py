"""Children, as whoever waits for them needs them."""

import os
import signal
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from homeport import process
from tests.fake_upstream import until


def test_a_signal_that_comes_late_takes_no_status_away() -> None:
    """The child has ended, and asyncio's watcher has not asked for its status yet."""
    child = subprocess.Popen([sys.executable, "-S", "-c", "raise SystemExit(7)"])
    assert until(lambda: Path(f"/proc/{child.pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z", 60)
    seen_by_asyncio: Any = SimpleNamespace(pid=child.pid, returncode=None)
    process.tell(seen_by_asyncio, signal.SIGTERM)
    assert os.waitstatus_to_exitcode(os.waitpid(child.pid, 0)[1]) == 7
    child.returncode = 7
    process.tell(seen_by_asyncio, signal.SIGTERM)  # it is gone: no harm is done
