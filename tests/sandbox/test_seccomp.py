"""The filter, run by a kernel of twenty lines: what it says of calls, on both kinds of machines."""

import errno
import platform
import struct

import pytest

from homeport.sandbox import seccomp

ARCHITECTURES = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
ALLOWED, KILLED = 0x7FFF0000, 0x80000000
#: clone, socket, ioctl, mount, clone3, read, setpriority.
NUMBERS = {"x86_64": (56, 41, 16, 165, 435, 0, 141), "aarch64": (220, 198, 29, 40, 435, 63, 140)}
#: sched_setscheduler, sched_setaffinity, prlimit64.
OF_ITSELF = {"x86_64": (144, 203, 302), "aarch64": (119, 122, 261)}


def verdict(program: bytes, architecture: int, number: int, *arguments: int) -> int:
    data = struct.pack("=IIQ6Q", number, architecture, 0, *(*arguments, 0, 0, 0, 0, 0, 0)[:6])
    at = loaded = 0
    while True:
        code, yes, no, value = struct.unpack_from("=HBBI", program, 8 * at)
        at += 1
        match code:
            case 0x20:
                (loaded,) = struct.unpack_from("=I", data, value)
            case 0x06:
                return int(value)
            case 0x15 | 0x35 | 0x45:
                holds = {0x15: loaded == value, 0x35: loaded >= value, 0x45: bool(loaded & value)}[code]
                at += yes if holds else no
            case _:
                pytest.fail(f"no instruction: {code:#x}")


def refused(error: int) -> int:
    return 0x00050000 | error


@pytest.mark.parametrize("machine", ["x86_64", "aarch64"])
def test_what_is_said_of_calls(monkeypatch: pytest.MonkeyPatch, machine: str) -> None:
    monkeypatch.setattr(platform, "machine", lambda: machine)
    assert seccomp.supported()
    program, architecture = seccomp.program(), ARCHITECTURES[machine]
    clone, sockets, ioctl, mount, clone3, read, priority = NUMBERS[machine]
    itself = OF_ITSELF[machine]

    def asked(number: int, *arguments: int) -> int:
        return verdict(program, architecture, number, *arguments)

    assert asked(read) == ALLOWED
    assert asked(mount) == refused(errno.EPERM)
    assert asked(clone3) == refused(errno.ENOSYS)
    assert asked(clone, 0x01200011) == ALLOWED  # what fork() asks
    assert asked(clone, 0x003D0F00) == ALLOWED  # and a thread
    for namespace in (0x20000, 0x02000000, 0x04000000, 0x08000000, 0x10000000, 0x20000000, 0x40000000):
        assert asked(clone, namespace | 17) == refused(errno.EPERM)
    assert asked(sockets, 1) == ALLOWED
    assert [asked(sockets, family) for family in (0, 2, 10, 16, 17, 38, 40)] == [refused(errno.EAFNOSUPPORT)] * 7
    for number in itself:
        assert asked(number, 0) == ALLOWED
        assert asked(number, 1) == refused(errno.EPERM)
    assert asked(priority, 0, 0, 10) == ALLOWED
    assert asked(priority, 0, 1, 10) == asked(priority, 2, 0, 10) == refused(errno.EPERM)
    assert asked(ioctl, 0, 0x5401) == ALLOWED
    assert [asked(ioctl, 0, request) for request in (0x5412, 0x541C)] == [refused(errno.EPERM)] * 2
    assert verdict(program, 0x40000003, read) == KILLED  # 32 bits
    assert asked(0x40000000 | read) == KILLED  # x32
    assert len(program) // 8 < 4096


def test_a_machine_that_it_is_not_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(platform, "machine", lambda: "riscv64")
    assert not seccomp.supported()
