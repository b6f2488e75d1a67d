"""Training runs, each in a process of its own that may be killed at any time and goes on where it was saved.

Of ours it imports `wire` and nothing else. torch is needed: `pip install 'homeport[train]'`.
"""
