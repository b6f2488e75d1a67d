"""Runs code, one execution after the other, in variables that stay, and shows what a notebook shows.

It is what the code runs in, so the code can make of it whatever it likes. Nothing outside relies on what it says: it
tells the warden that an execution is over, and why, and the warden believes that of this cell and nothing more.
"""

import ast
import builtins
import json
import linecache
import os
import resource
import signal
import site
import sys
import sysconfig
import traceback
from types import ModuleType
from typing import Any

from .watch import DATA

#: Where its descriptors are, out of the way of what code opens; as many as it may have.
_NULL, _OUTPUT, _REQUESTS, _ANSWERS, _FILES = 248, 249, 250, 251, 256
#: Lower than the warden, and than the server.
_NICE = 10
_OUT_OF_MEMORY_FIRST = "1000"
#: Of a traceback, from its end.
_FRAMES = 12
_KEPT_SOURCES = 100


def begin(requests: int, answers: int, output: int, limits: dict[str, int]) -> None:
    """In a fork of the warden, of whose descriptors it keeps these three alone. Never returns. limits: `RLIMIT_...`."""
    null = os.open("/dev/null", os.O_RDONLY)
    for old, new in ((null, _NULL), (output, _OUTPUT), (requests, _REQUESTS), (answers, _ANSWERS)):
        os.dup2(old, new, inheritable=False)
    os.closerange(0, _NULL)
    os.closerange(_ANSWERS + 1, 4096)
    os.setsid()
    os.nice(_NICE)
    with open("/proc/self/oom_score_adj", "w") as file:
        file.write(_OUT_OF_MEMORY_FIRST)
    # A core of one byte: with none, a crash would still be given to the program that the system has for that.
    for name, most in {**limits, "RLIMIT_NOFILE": _FILES, "RLIMIT_CORE": 1}.items():
        resource.setrlimit(getattr(resource, name), (most, most))
    site.main()
    sys.path[:] = [DATA, *(path for path in sys.path if path not in ("", DATA))]
    sys.argv = [""]
    _Kernel().run()


def _open_streams() -> None:
    """Anew, whatever code has made of them."""
    for old, new in ((_NULL, 0), (_OUTPUT, 1), (_OUTPUT, 2)):
        os.dup2(old, new)
    sys.stdin = open(0, encoding="utf-8", closefd=False)
    sys.stdout, sys.stderr = _stream(1), _stream(2)


def _stream(descriptor: int) -> Any:
    return open(descriptor, "w", buffering=1, encoding="utf-8", errors="backslashreplace", newline="\n", closefd=False)


class _Kernel:
    def __init__(self) -> None:
        module = ModuleType("__main__")
        module.__dict__.update({"__builtins__": builtins, "display": _display})
        sys.modules["__main__"] = module
        self._variables = module.__dict__
        self._number = 0
        self._pid = os.getpid()
        self._executes = False

    def run(self) -> None:
        with open(_REQUESTS, "rb", closefd=False) as requests:
            while line := requests.readline():
                _open_streams()
                request = json.loads(line)
                failed = ""
                try:
                    failed = self._executed(request["code"])
                except BaseException as error:  # interrupted between the two, or whatever code has prepared
                    failed = type(error).__name__
                self._executes = False
                if os.getpid() != self._pid:
                    os._exit(0)  # a fork that code has made, and that came to its end
                answer = {"ended": request["execute"], "failed": failed}
                os.write(_ANSWERS, b"\n%s\n" % json.dumps(answer).encode())  # whatever code may have written there
        os._exit(0)

    def _executed(self, code: str) -> str:
        self._number += 1
        name = f"<execution {self._number}>"
        linecache.cache[name] = (len(code), None, code.splitlines(keepends=True), name)
        linecache.cache.pop(f"<execution {self._number - _KEPT_SOURCES}>", None)
        signal.signal(signal.SIGINT, self._interrupted)
        failed = ""
        try:
            try:
                self._executes = True
                self._evaluate(code, name)
            finally:
                _show_figures()
        except SystemExit as error:
            self._executes = False
            failed = "" if error.code in (None, 0) else f"SystemExit: {error.code}"
        except BaseException as error:
            self._executes = False
            failed = _told(error)
        _flush()
        return failed

    def _evaluate(self, code: str, name: str) -> None:
        tree = compile(code, name, "exec", ast.PyCF_ONLY_AST, dont_inherit=True)
        assert isinstance(tree, ast.Module)
        last = tree.body.pop() if tree.body and isinstance(tree.body[-1], ast.Expr) else None
        exec(compile(tree, name, "exec", dont_inherit=True), self._variables)
        if isinstance(last, ast.Expr):
            value = eval(compile(ast.Expression(last.value), name, "eval", dont_inherit=True), self._variables)
            if value is not None and not code.rstrip().endswith(";"):
                self._variables["_"] = value
                _display(value)

    def _interrupted(self, _signal: int, _frame: object) -> None:
        if self._executes:
            raise KeyboardInterrupt


def _display(*values: object) -> None:
    for value in values:
        sys.stdout.write(f"{value!r}\n")


def _show_figures() -> None:
    """Those that are still open."""
    if "matplotlib._pylab_helpers" in sys.modules:
        from .figures import show

        show()


def _flush() -> None:
    for stream in {id(stream): stream for stream in (sys.stdout, sys.stderr)}.values():
        try:
            stream.flush()
        except Exception:  # its own, or closed
            continue


def _told(error: BaseException) -> str:
    """Prints where it came from, without what is around the code; its last line."""
    try:
        told = traceback.TracebackException(type(error), error, error.__traceback__, compact=True)
        _shorten(told, set())
        sys.stderr.write("".join(told.format()))
        return "".join(told.format_exception_only()).strip().splitlines()[-1]
    except BaseException:  # an exception that does not want to be told
        return type(error).__name__


def _shorten(told: traceback.TracebackException, seen: set[int]) -> None:
    """The last frames, none of this file, and files by their place among the libraries. seen: chains can be rings."""
    if id(told) in seen:
        return
    seen.add(id(told))
    told.stack[:] = [frame for frame in told.stack if frame.filename != __file__][-_FRAMES:]
    libraries = sorted({*sysconfig.get_paths().values(), *sys.path} - {DATA}, key=len, reverse=True)
    for frame in told.stack:
        for folder in libraries:
            if folder and frame.filename.startswith(f"{folder}/"):
                frame.filename = frame.filename[len(folder) + 1 :]
                break
    for inner in (told.__cause__, told.__context__, *(getattr(told, "exceptions", None) or ())):
        if inner is not None:
            _shorten(inner, seen)
