"""What can go wrong between us and an upstream."""


class TransferError(Exception):
    """The exchange with the upstream failed. heard: some of the answer has come.

    |- ConnectFailed   refused, unknown host, no TLS agreement: nothing was sent
    |  |- AllBusy      no connection was free in time
    |- TimedOut        no first byte, or no next byte, or no end in time
    |- Cut             the connection ended before the answer did
    |- Broken          what came is not HTTP
    |- TooLarge        the answer is larger than is taken
    """

    def __init__(self, message: str, *, heard: bool = False) -> None:
        super().__init__(message)
        self.heard = heard


class ConnectFailed(TransferError):
    pass


class AllBusy(ConnectFailed):
    pass


class TimedOut(TransferError):
    pass


class Cut(TransferError):
    pass


class Broken(TransferError):
    pass


class TooLarge(TransferError):
    pass
