"""What code in a cell cannot reach, however it tries."""

import json
import os
from pathlib import Path

import pytest

from homeport.sandbox.warm import WarmCells
from tests.sandbox.conftest import Ran

#: Errors are answers, too.
TRY = """
import ctypes, errno, json, os, signal, socket, subprocess
libc = ctypes.CDLL(None, use_errno=True)
def tried(action):
    try:
        return action()
    except OSError as error:
        return errno.errorcode[error.errno]
def called(number, *arguments):
    return errno.errorcode.get(ctypes.get_errno()) if libc.syscall(number, *arguments) < 0 else "done"
"""


@pytest.fixture(autouse=True)
def _tools(ran: Ran) -> None:
    ran(TRY)


def test_there_is_no_network(ran: Ran) -> None:
    """Neither to speak to nor to look at."""
    assert ran.logs("print(tried(lambda: socket.create_connection(('127.0.0.1', 22))))") == "EAFNOSUPPORT\n"
    names = ran.logs("print([line.split(':')[0].strip() for line in open('/proc/net/dev') if ':' in line])")
    assert names in ("['lo']\n", "[]\n")


def test_no_name_is_looked_up(ran: Ran) -> None:
    done = ran("socket.getaddrinfo('example.com', 80)")
    assert "gaierror" in done.failed


@pytest.mark.parametrize("family", ["AF_INET", "AF_INET6", "AF_VSOCK", "AF_NETLINK", "AF_PACKET", "AF_ALG"])
def test_sockets_that_lead_out_of_a_machine_are_refused(ran: Ran, family: str) -> None:
    assert ran.logs(f"print(tried(lambda: socket.socket(socket.{family}, socket.SOCK_RAW)))").strip() == "EAFNOSUPPORT"


def test_of_the_machine_it_sees_what_python_needs(ran: Ran, cells: WarmCells, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("secret")
    wanted = [secret, cells.data / "secret", "/etc/shadow", "/etc/hostname", "/root/.bashrc", "/var", "/home", "/sys"]
    assert ran.logs(f"print([os.path.exists(path) for path in {[str(path) for path in wanted]}])") == (
        f"{[False] * len(wanted)}\n"
    )
    assert ran.logs("print(open('/etc/passwd').read())").count("\n") == 2  # itself


def test_its_own_folder_and_temporary_ones_are_all_that_it_writes_to(ran: Ran) -> None:
    places = ["/", "/dev", "/etc", "/usr", "/usr/lib", "/cell/inside", "/proc/sys/kernel", "/mnt"]
    said = json.loads(ran.logs(f"print(json.dumps([tried(lambda: open(p + '/x', 'w')) for p in {places}]))"))
    assert set(said) <= {"EROFS", "EACCES", "ENOENT", "EPERM"}
    assert (
        ran.logs("[open(p + '/x', 'w').close() for p in ('/tmp', '/dev/shm', '/mnt/data')]") == "[None, None, None]\n"
    )
    assert (ran.folder / "x").exists()


def test_a_link_out_of_its_folder_leads_nowhere(ran: Ran, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("secret")
    said = ran.logs(f"os.symlink({str(tmp_path / 'secret')!r}, 'link'); print(tried(lambda: open('link')))")
    assert said.strip() == "ENOENT"
    assert ran.logs("print(tried(lambda: os.link('/usr/bin/env', '/mnt/data/env')))").strip() in ("EXDEV", "EPERM")


def test_its_environment_has_nothing_of_the_servers(ran: Ran, monkeypatch: pytest.MonkeyPatch) -> None:
    assert not set(json.loads(ran.logs("print(json.dumps(dict(os.environ)))"))) & {"PATHEXT", "SHELL", "HOSTNAME"}
    assert "HOMEPORT" not in ran.logs("print(dict(os.environ))")
    assert ran.logs("print(tried(lambda: open('/proc/1/environ').read()))").strip() == "EACCES"


def test_it_sees_no_process_but_its_own(ran: Ran) -> None:
    assert ran.logs("print(sorted(int(n) for n in os.listdir('/proc') if n.isdigit())[0], os.getppid())") == "1 1\n"
    assert str(os.getpid()) not in ran.logs("print([n for n in os.listdir('/proc') if n.isdigit()])").split()


def test_process_1_can_neither_be_ended_nor_looked_into(ran: Ran) -> None:
    assert ran.logs("print([os.kill(1, s) for s in (9, 15, 19, 2)])") == "[None, None, None, None]\n"
    for what in ("mem", "environ", "maps", "fd/1"):
        assert ran.logs(f"print(tried(lambda: open('/proc/1/{what}').read()))").strip() in ("EACCES", "EPERM")
    assert ran.logs("print(called(101, 16, 1, 0, 0) if os.uname().machine == 'x86_64' else 'EPERM')") == "EPERM\n"
    assert ran.logs("print(tried(lambda: os.sched_setscheduler(1, os.SCHED_IDLE, os.sched_param(0))))") == "EPERM\n"
    assert ran.logs("print(tried(lambda: os.setpriority(os.PRIO_PROCESS, 1, 19)))") == "EPERM\n"
    assert "PermissionError" in ran("import resource; resource.prlimit(1, resource.RLIMIT_NOFILE, (0, 0))").failed
    assert ran.logs("1") == "1\n"


def test_rights_are_not_to_be_had(ran: Ran) -> None:
    status = ran.logs("print(open('/proc/self/status').read())")
    told = dict(line.split(":\t", 1) for line in status.splitlines() if ":\t" in line)
    assert {told[name] for name in ("CapInh", "CapPrm", "CapEff", "CapAmb")} == {"0" * 16}
    assert (told["NoNewPrivs"], told["Seccomp"]) == ("1", "2")
    assert ran.logs("print(tried(lambda: os.setuid(0)))").strip() in ("EPERM", "EINVAL")
    assert ran.logs("print(libc.unshare(0x10000000), errno.errorcode[ctypes.get_errno()])") == "-1 EPERM\n"
    assert ran.logs("print(libc.mount(b'none', b'/tmp', b'tmpfs', 0, None))") == "-1\n"
    assert ran.logs("print(tried(lambda: os.mknod('/tmp/disk', 0o60666, os.makedev(8, 0))))") == "EPERM\n"
    assert ran.logs("print(tried(lambda: os.memfd_create('x')))") == "EPERM\n"


def test_it_cannot_turn_its_limits_off(ran: Ran) -> None:
    code = "import resource; resource.setrlimit(resource.RLIMIT_{}, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))"
    for limit in ("NPROC", "DATA", "AS", "FSIZE", "NOFILE", "CORE"):
        assert "not allowed to raise maximum limit" in ran(code.format(limit)).failed


def test_the_servers_pipe_is_not_to_be_found(ran: Ran) -> None:
    """All that it has open is the null device, its output, and the two ends that lead to process 1."""
    mine = [0, 1, 2, 248, 249, 250, 251]
    said = ran.logs(f"print([os.readlink(f'/proc/self/fd/{{n}}').split(':')[0] for n in {mine}])")
    assert said == "['/dev/null', 'pipe', 'pipe', '/dev/null', 'pipe', 'pipe', 'pipe']\n"
    assert ran.logs("print(sorted(int(n) for n in os.listdir('/proc/self/fd') if n != '3'))") == f"{mine}\n"
