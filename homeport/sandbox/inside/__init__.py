"""What runs within the walls: Python's own library and nothing else, for any Python from 3.10 on.

Process 1 of a cell is its warden; its child is the kernel, which runs the code. Whoever wants to know what the code can
reach reads `bubblewrap.py`; what it may take, `watch.py`; how the server hears of it, `warden.py`.
"""
