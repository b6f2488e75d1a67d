"""How many threads an engine has, where nobody says."""

import os


def default_threads() -> int:
    """One less than the cores: somebody has to answer requests meanwhile, and the threads of some engines spin."""
    return max(1, (os.cpu_count() or 1) - 1)
