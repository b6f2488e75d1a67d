"""Identifiers: OpenAI's prefixes, then random letters and digits. One function a prefix.

24 characters of 62 are 142 bits: unguessable, so an id may stand in a URL.
"""

import os
import string
import threading

from homeport import clock

_ALPHABET = (string.ascii_letters + string.digits).encode()
#: Byte -> letter; bytes from 248 = 4 x 62 on have none, so that every letter is equally likely.
_LETTERS = bytes(_ALPHABET[byte % 62] for byte in range(256))
_NO_LETTER = bytes(range(248, 256))


class _Pool:
    """Bytes of the operating system's random source, fetched a page at a time: one system call for many ids."""

    _PAGE = 4096

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._bytes = b""
        self._taken = 0

    def take(self, count: int) -> bytes:
        with self._lock:
            if self._taken + count > len(self._bytes):
                self._bytes = os.urandom(self._PAGE + count)
                self._taken = 0
            start = self._taken
            self._taken = start + count
            return self._bytes[start : self._taken]

    def forget(self) -> None:
        """A child process must not hand out its parent's bytes."""
        self._bytes = b""


_pool = _Pool()
os.register_at_fork(after_in_child=_pool.forget)


#: The random halves of request ids, made a hundred at a time.
_suffixes: list[str] = []
_SUFFIXES = 100
os.register_at_fork(after_in_child=_suffixes.clear)


def random_text(length: int) -> str:
    """`length` characters of A-Z a-z 0-9 from the operating system's random source."""
    letters = b""
    while len(letters) < length:
        letters += _pool.take(length + 4).translate(_LETTERS, _NO_LETTER)
    return letters[:length].decode()


def request_id() -> str:
    """`req_` and 32 hexadecimal digits: milliseconds, then 80 random bits.

    They come in the order of time, so the ledger's index of them grows at its end: three times cheaper than at random.
    """
    try:
        suffix = _suffixes.pop()
    except IndexError:
        taken = _pool.take(10 * _SUFFIXES).hex()
        _suffixes.extend([taken[place : place + 20] for place in range(20, len(taken), 20)])
        suffix = taken[:20]
    return f"req_{int(clock.now() * 1000):012x}{suffix}"


def chat_completion() -> str:
    return "chatcmpl-" + random_text(29)


def completion() -> str:
    return "cmpl-" + random_text(29)


def tool_call() -> str:
    return "call_" + random_text(24)


def key() -> str:
    return "key_" + random_text(16)


def secret_key() -> str:
    """A new API key: 48 characters, 285 bits. Shown once; only its SHA-256 is ever stored."""
    return "sk-homeport-" + random_text(48)


def secret_admin_key() -> str:
    """A new key of the Admin API, as long."""
    return "sk-admin-homeport-" + random_text(48)


def project() -> str:
    return "proj_" + random_text(24)


def user() -> str:
    return "user-" + random_text(24)


def invite() -> str:
    return "invite-" + random_text(24)


def service_account() -> str:
    return "svc_acct_" + random_text(24)


def spend_alert() -> str:
    return "spend_alert_" + random_text(24)


def audit_log() -> str:
    return "audit_log-" + random_text(24)


def file() -> str:
    return "file-" + random_text(24)


def upload() -> str:
    return "upload_" + random_text(24)


def upload_part() -> str:
    return "part_" + random_text(24)


def batch() -> str:
    return "batch_" + random_text(24)


def batch_request() -> str:
    """Of a line in a batch's output."""
    return "batch_req_" + random_text(24)


def vector_store() -> str:
    return "vs_" + random_text(24)


def vector_store_file_batch() -> str:
    return "vsfb_" + random_text(24)


def image() -> str:
    """Of a picture's address, which is all that is asked of who wants to see it: 256 bits."""
    return random_text(43)


def fine_tuning_job() -> str:
    return "ftjob-" + random_text(24)


def fine_tuning_event() -> str:
    return "ftevent-" + random_text(24)


def fine_tuning_checkpoint() -> str:
    return "ftckpt_" + random_text(24)


def fine_tuned_model(model: str, organization: str, suffix: str | None, job_id: str) -> str:
    """The name that requests call it: `ft:MODEL:ORGANIZATION:SUFFIX:ID`. A job makes one: its id is the end of the
    job's, the same whoever asks."""
    return f"ft:{model}:{organization}:{suffix or ''}:{job_id[-8:]}"


def checkpoint_permission() -> str:
    return "cp_" + random_text(24)


def assistant() -> str:
    return "asst_" + random_text(24)


def thread() -> str:
    return "thread_" + random_text(24)


def message() -> str:
    return "msg_" + random_text(24)


def run() -> str:
    return "run_" + random_text(24)


def run_step() -> str:
    return "step_" + random_text(24)


def response() -> str:
    return "resp_" + random_text(48)


def conversation() -> str:
    return "conv_" + random_text(48)


#: Items of responses and conversations, by their type.
_ITEMS = {
    "message": "msg_",
    "reasoning": "rs_",
    "function_call": "fc_",
    "function_call_output": "fco_",
    "file_search_call": "fs_",
    "code_interpreter_call": "ci_",
}


def item(kind: str) -> str:
    """kind: the item's `type`."""
    return _ITEMS.get(kind, "item_") + random_text(48)


def container() -> str:
    return "cntr_" + random_text(48)


def container_file() -> str:
    return "cfile_" + random_text(24)


def moderation() -> str:
    return "modr-" + random_text(24)


def job() -> str:
    """Of the durable queue; no client sees it."""
    return "job_" + random_text(24)
