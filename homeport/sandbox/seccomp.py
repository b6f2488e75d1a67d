"""Which system calls a cell does not have: a filter in the kernel's own language, as `bwrap --seccomp` takes it.

A list of what is refused, not of what is allowed, since Python's libraries use almost everything: what makes walls
(mounts, namespaces), what looks into other processes, what speaks to the kernel's less proven parts, and what takes
memory that nobody would count. Of sockets there are those within a machine: a cell has no network, and what IP takes
for its buffers it takes from the whole machine. Refused is an error as for want of rights, so that programs go on; a
call by another architecture's numbers ends the process.

Source: linux/seccomp.h, linux/filter.h; the numbers are those of asm/unistd_64.h and asm-generic/unistd.h.
"""

import errno
import platform
import struct
from collections.abc import Sequence
from typing import NamedTuple

_LOAD, _EQUAL, _AT_LEAST, _ANY_BIT, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
_NUMBER, _ARCHITECTURE, _ARGUMENTS = 0, 4, 16
_ALLOW, _KILL, _ERROR = 0x7FFF0000, 0x80000000, 0x00050000
_X32 = 0x40000000
#: CLONE_NEWTIME, NEWNS, NEWCGROUP, NEWUTS, NEWIPC, NEWUSER, NEWPID, NEWNET.
_NEW_NAMESPACES = 0x7E020080
_AF_UNIX = 1
#: What types into a terminal.
_TIOCSTI, _TIOCLINUX = 0x5412, 0x541C


class _Machine(NamedTuple):
    """column: of the numbers below."""

    architecture: int
    column: int


_MACHINES = {"x86_64": _Machine(0xC000003E, 0), "aarch64": _Machine(0xC00000B7, 1)}

#: Name -> its number on x86_64, and on arm64; -1 where there is none.
_REFUSED = {
    # walls
    "mount": (165, 40), "umount2": (166, 39), "pivot_root": (155, 41), "chroot": (161, 51),
    "move_mount": (429, 429), "open_tree": (428, 428), "mount_setattr": (442, 442), "fsopen": (430, 430),
    "fsconfig": (431, 431), "fsmount": (432, 432), "fspick": (433, 433), "setns": (308, 268), "unshare": (272, 97),
    "name_to_handle_at": (303, 264), "open_by_handle_at": (304, 265), "quotactl": (179, 60), "quotactl_fd": (443, 443),
    # other processes
    "ptrace": (101, 117), "process_vm_readv": (310, 270), "process_vm_writev": (311, 271), "kcmp": (312, 272),
    "pidfd_getfd": (438, 438), "process_madvise": (440, 440),
    # parts of the kernel that have often had holes, or speak of it
    "bpf": (321, 280), "perf_event_open": (298, 241), "userfaultfd": (323, 282), "keyctl": (250, 219),
    "add_key": (248, 217), "request_key": (249, 218), "vmsplice": (278, 75), "fanotify_init": (300, 262),
    "modify_ldt": (154, -1), "personality": (135, 92), "syslog": (103, 116), "ioprio_set": (251, 30),
    "lookup_dcookie": (212, 18),
    # the machine
    "init_module": (175, 105), "finit_module": (313, 273), "delete_module": (176, 106), "kexec_load": (246, 104),
    "kexec_file_load": (320, 294), "swapon": (167, 224), "swapoff": (168, 225), "acct": (163, 89),
    "reboot": (169, 142), "sethostname": (170, 161), "setdomainname": (171, 162), "iopl": (172, -1),
    "ioperm": (173, -1), "vhangup": (153, 58), "settimeofday": (164, 170), "clock_settime": (227, 112),
    "adjtimex": (159, 171), "clock_adjtime": (305, 266), "uselib": (134, -1), "ustat": (136, -1), "sysfs": (139, -1),
    "_sysctl": (156, -1), "nfsservctl": (180, 42),
    # memory that is no process's
    "memfd_create": (319, 279), "memfd_secret": (447, 447), "shmget": (29, 194), "msgget": (68, 186),
    "semget": (64, 190), "mbind": (237, 235), "move_pages": (279, 239), "migrate_pages": (256, 238),
    "set_mempolicy": (238, 237),
}  # fmt: skip
#: As if the kernel did not know them: libraries then use what can be looked into.
_UNKNOWN = {"io_uring_setup": (425, 425), "io_uring_enter": (426, 426), "io_uring_register": (427, 427),
            "clone3": (435, 435)}  # fmt: skip
#: What may be done to the caller alone, whom 0 stands for as the first argument (and the second, of `setpriority`): who
#: is the same user could otherwise slow down, or starve, the cell's process 1.
_FOR_ITSELF = {"sched_setparam": (142, 118), "sched_setscheduler": (144, 119), "sched_setattr": (314, 274),
               "sched_setaffinity": (203, 122), "prlimit64": (302, 261)}  # fmt: skip
_SETPRIORITY = (141, 140)
_CLONE, _SOCKET, _SOCKETPAIR, _IOCTL = (56, 220), (41, 198), (53, 199), (16, 29)


def supported() -> bool:
    """Whether there is a filter for this machine."""
    return platform.machine() in _MACHINES


def program() -> bytes:
    """The filter for this machine."""
    machine = _MACHINES[platform.machine()]
    instructions = [
        _instruction(_LOAD, _ARCHITECTURE),
        _instruction(_EQUAL, machine.architecture, yes=1),
        _instruction(_RETURN, _KILL),
        _instruction(_LOAD, _NUMBER),
        _instruction(_AT_LEAST, _X32, no=1),
        _instruction(_RETURN, _KILL),
    ]
    for table, error in ((_REFUSED, errno.EPERM), (_UNKNOWN, errno.ENOSYS)):
        for number in (each[machine.column] for each in table.values()):
            if number >= 0:
                instructions += _where_equal(number, [_instruction(_RETURN, _ERROR | error)])
    refused, allowed = _instruction(_RETURN, _ERROR | errno.EPERM), _instruction(_RETURN, _ALLOW)
    argument = [_instruction(_LOAD, _ARGUMENTS + 8 * number) for number in range(2)]
    instructions += _where_equal(
        _CLONE[machine.column], [argument[0], _instruction(_ANY_BIT, _NEW_NAMESPACES, no=1), refused, allowed]
    )
    of_itself = [argument[0], _instruction(_EQUAL, 0, yes=1), refused]
    for numbers in _FOR_ITSELF.values():
        instructions += _where_equal(numbers[machine.column], [*of_itself, allowed])
    second = [argument[1], _instruction(_EQUAL, 0, yes=1), refused, allowed]
    instructions += _where_equal(_SETPRIORITY[machine.column], [*of_itself, *second])
    for call in (_SOCKET, _SOCKETPAIR):
        unknown = _instruction(_RETURN, _ERROR | errno.EAFNOSUPPORT)
        instructions += _where_equal(
            call[machine.column], [argument[0], _instruction(_EQUAL, _AF_UNIX, yes=1), unknown, allowed]
        )
    typing = [_instruction(_EQUAL, _TIOCSTI, yes=1), _instruction(_EQUAL, _TIOCLINUX, no=1), refused, allowed]
    instructions += _where_equal(_IOCTL[machine.column], [argument[1], *typing])
    return b"".join([*instructions, allowed])


def _where_equal(number: int, then: Sequence[bytes]) -> list[bytes]:
    """then: ends with a return. The number is what is loaded, before and after."""
    return [_instruction(_EQUAL, number, no=len(then)), *then]


def _instruction(code: int, value: int, *, yes: int = 0, no: int = 0) -> bytes:
    """yes, no: how many instructions a test leaves out where it holds, and where it does not."""
    return struct.pack("=HBBI", code, yes, no, value)
