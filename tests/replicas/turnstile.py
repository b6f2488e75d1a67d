"""What holds a model up, so that whatever is killed meanwhile is never done already, however fast the machine is."""

import threading
import time

from tests.fake_upstream import Visit, answer_well

_PATIENCE = 90.0


class Turnstile:
    """The model behind it answers as often as it was let. seconds: that it takes each time."""

    def __init__(self, seconds: float = 0.0) -> None:
        self._seconds = seconds
        self._changed = threading.Condition()
        self._waiting = self._passed = 0
        self._until: int | None = 0  # None: it is open

    def __call__(self, visit: Visit) -> None:
        with self._changed:
            self._waiting += 1
            self._changed.wait_for(lambda: self._until is None or self._passed < self._until, _PATIENCE)
            self._waiting -= 1
            self._passed += 1
        time.sleep(self._seconds)
        answer_well(visit)

    def let(self, many: int) -> None:
        """Those who wait, of whom some may have been killed, and so many more."""
        with self._changed:
            self._until = self._passed + self._waiting + many
            self._changed.notify_all()

    def open(self) -> None:
        with self._changed:
            self._until = None
            self._changed.notify_all()
