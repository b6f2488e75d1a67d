"""What code sees of the Python that it runs in, and what it cannot make of it."""

import pytest

from tests.sandbox.conftest import Ran

MATPLOTLIB = {
    "matplotlib/__init__.py": "",
    "matplotlib/backends/__init__.py": "",
    "matplotlib/backends/backend_agg.py": "class FigureCanvasAgg: pass",
    "matplotlib/_pylab_helpers.py": """
class Figure:
    def __init__(self, name): self.name = name
    def savefig(self, file, **options): file.write(f"{self.name} {options['format']}".encode())
class Gcf:
    figures = []
    @classmethod
    def get_all_fig_managers(cls): return [type("M", (), {"canvas": type("C", (), {"figure": f})}) for f in cls.figures]
    @classmethod
    def destroy_all(cls): cls.figures.clear()
""",
}


def test_variables_stay(ran: Ran) -> None:
    ran("import math\nx = 20\ndef double(y): return 2 * y")
    assert ran.logs("double(x) + int(math.pi)") == "43\n"
    assert ran.logs("_ + 1") == "44\n"


@pytest.mark.parametrize(
    ("code", "logs"),
    [
        ("1 + 1", "2\n"),
        ("1 + 1;", ""),
        ("x = 1", ""),
        ("None", ""),
        ("'é\\n'", "'é\\n'\n"),
        ("print('a'); 'b'", "a\n'b'\n"),
        ("display(1, 'a')", "1\n'a'\n"),
        ("", ""),
        ("# only words", ""),
        ("if True:\n    7", ""),
        ("print(__name__)", "__main__\n"),
        ("print('a\\x00b')", "a\ufffdb\n"),
        ("import sys; sys.stdout.buffer.write(b'\\xff\\n');", "\ufffd\n"),
        ("print('\\ud800')", "\\ud800\n"),
        ("import os; os.getcwd()", "'/mnt/data'\n"),
    ],
)
def test_a_notebooks_output(ran: Ran, code: str, logs: str) -> None:
    assert ran.logs(code) == logs


def test_everybody_who_writes_is_heard_in_order(ran: Ran) -> None:
    code = """
import ctypes, os, subprocess, sys
print("python")
print("error", file=sys.stderr)
os.write(1, b"descriptor\\n")
subprocess.run(["sh", "-c", "echo program; echo its error >&2"])
ctypes.CDLL(None).puts(b"library")
ctypes.CDLL(None).fflush(None)
print("end", end="")
"""
    assert ran.logs(code) == "python\nerror\ndescriptor\nprogram\nits error\nlibrary\nend"


def test_a_traceback_shows_the_code_and_nothing_around_it(ran: Ran) -> None:
    done = ran("import json\ndef f(text):\n    return json.loads(text)\nf('{')")
    assert done.failed.startswith("json.decoder.JSONDecodeError: Expecting property name")
    assert 'File "<execution ' in done.logs
    assert "    return json.loads(text)\n" in done.logs
    assert 'File "json/decoder.py", line' in done.logs
    assert "kernel" not in done.logs
    assert "lib/python" not in done.logs


def test_what_is_no_python_is_shown_where_it_is_none(ran: Ran) -> None:
    lines = ran("x = (").logs.splitlines()
    assert lines[0].startswith('  File "<execution ')
    assert lines[1:] == ["    x = (", "        ^", "SyntaxError: '(' was never closed"]


def test_an_earlier_executions_code_is_shown_where_it_fails_later(ran: Ran) -> None:
    ran("def fails():\n    raise ValueError('here')  # marked")
    assert "# marked" in ran("fails()").logs


@pytest.mark.parametrize(
    ("code", "failed"),
    [
        ("1/0", "ZeroDivisionError: division by zero"),
        ("x = (", "SyntaxError: '(' was never closed"),
        ("raise SystemExit(3)", "SystemExit: 3"),
        ("exit()", ""),
        ("import sys; sys.exit('no')", "SystemExit: no"),
        ("raise KeyboardInterrupt", "KeyboardInterrupt"),
        ("raise BaseException", "BaseException"),
        ("class E(Exception):\n  def __str__(self): raise E\nraise E", "E: <exception str() failed>"),
        ("class E(Exception):\n  def __str__(self): exit()\nraise E", "E"),
        ("def f(): f()\nf()", "RecursionError: maximum recursion depth exceeded"),
        ("e = ValueError(1); e.__cause__ = e; raise e", "ValueError: 1"),
        ("raise ExceptionGroup('all', [ValueError(1)])", "ExceptionGroup: all (1 sub-exception)"),
        ("class R:\n  def __repr__(self): raise ValueError('r')\nR()", "ValueError: r"),
        ("import sys; sys.stdout = None; raise ValueError('no output')", "ValueError: no output"),
        ("import sys; sys.stderr.close(); 1/0", "ZeroDivisionError"),
        ("input()", "EOFError: EOF when reading a line"),
        ("raise ValueError('\\ud800')", "ValueError: ?"),
        ("raise ValueError('x' * 10000)", "ValueError: " + "x" * 488),
    ],
)
def test_why_it_failed(ran: Ran, code: str, failed: str) -> None:
    assert ran("kept = 1").failed == ""
    assert ran(code).failed.removeprefix("__main__.").startswith(failed)
    assert ran.logs("kept") == "1\n"


def test_a_value_that_is_long_to_tell(ran: Ran) -> None:
    done = ran("list(range(10**6))")
    assert done.cut
    assert done.failed == ""
    assert ran("10 ** 10000").failed.startswith("ValueError: Exceeds the limit")


@pytest.mark.parametrize(
    "ends",
    [
        "os._exit(0)",
        "os.kill(os.getpid(), 9)",
        "ctypes.string_at(0)",
        "os.closerange(0, 1000); os._exit(1)",
        "sys.setrecursionlimit(10**9)\nclass A:\n  def __repr__(self): return repr(self)\nrepr(A())",
    ],
)
def test_code_that_ends_its_own_process(ran: Ran, ends: str) -> None:
    """It is told, and the next begins anew."""
    ran("kept = 1")
    done = ran(f"import ctypes, os, sys\nprint('before', flush=True)\n{ends}")
    assert done.logs.startswith("before\n")
    assert done.failed in ("died", "memory", "MemoryError", "RecursionError: maximum recursion depth exceeded")
    again = ran("kept")
    if done.failed in ("died", "memory"):
        assert (again.failed, again.restarted) == ("NameError: name 'kept' is not defined", True)


def test_what_it_writes_into_the_kernels_pipes_harms_itself_alone(ran: Ran) -> None:
    """Nonsense is passed over; whoever says that the execution has ended has ended it."""
    nonsense = [b"nonsense\n", b"[]\n", b'{"ended": 1, "failed": 2}\n', b"[" * 50000 + b"\n", b"x" * 200_000]
    for block in nonsense:
        assert ran.logs(f"import os; os.write(251, {block!r}); print('went on')") == "went on\n"
    forged = """
import gc, json
token = next(d["execute"] for d in gc.get_objects() if type(d) is dict and "execute" in d and "code" in d)
os.write(251, json.dumps({"ended": token, "failed": "forged"}).encode() + b"\\n")
"""
    assert ran(forged).failed in ("forged", "", "StopIteration")
    assert ran.logs("print('after')").endswith("after\n")


def test_who_closes_the_kernels_pipes_is_done(ran: Ran) -> None:
    done = ran("import os; os.close(250); os.close(251)")
    assert done.failed == "died"
    assert ran.logs("1") == "1\n"


def test_who_closes_its_output_has_it_again_the_next_time(ran: Ran) -> None:
    assert ran.logs("import os; os.closerange(0, 3)") == ""
    assert ran.logs("print(1)") == "1\n"


def test_a_fork_that_comes_to_the_end_is_gone(ran: Ran) -> None:
    ran("import os\npid = os.fork()\nif pid:\n    os.waitpid(pid, 0)")
    assert ran.logs("print([n for n in os.listdir('/proc') if n.isdigit()])") == "['1', '2']\n"


def test_figures_become_pictures(ran: Ran) -> None:
    """By `show`, and by being there in the end; none replaces another. With what stands in for matplotlib."""
    for name, content in MATPLOTLIB.items():
        (ran.folder / name).parent.mkdir(parents=True, exist_ok=True)
        (ran.folder / name).write_text(content)
    code = """
import importlib, os
show = importlib.import_module(os.environ["MPLBACKEND"].removeprefix("module://")).show
from matplotlib._pylab_helpers import Figure, Gcf
Gcf.figures.append(Figure("a"))
show()
Gcf.figures += [Figure("b"), Figure("c")]
"""
    assert ran.logs(code) == ""
    assert ran.logs("Gcf.figures") == "[]\n"
    said = {path.name: path.read_text() for path in ran.folder.glob("*.png")}
    assert said == {"figure-1.png": "a png", "figure-2.png": "b png", "figure-3.png": "c png"}
