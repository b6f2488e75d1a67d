"""What can go wrong with model files. The command line prints the message and ends; no client ever sees one.

PullError
|- UnknownModel     no such name, or several files to choose from
|- Unreachable      no network, no such file at the source, or a transfer that keeps breaking
|- DigestMismatch   the bytes are not the ones that were promised
|- Refused          a format that is not taken, an archive that reaches outside itself
|- NoSpace          the disk is too small
"""


class PullError(Exception):
    """The message says what to do."""


class UnknownModel(PullError):
    pass


class Unreachable(PullError):
    pass


class DigestMismatch(PullError):
    pass


class Refused(PullError):
    pass


class NoSpace(PullError):
    pass
