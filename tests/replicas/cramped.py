"""`homeport` as it is, where little fits into memory and on disk: a test need not fill a gigabyte.

    python -m tests.replicas.cramped serve ...

With HOMEPORT_TEST_SLOTS_STAY it never frees a slot of the journal, as if it were killed each time just before it did.
"""

import os

from homeport import books
from homeport.cli import main
from homeport.store import journal, spill, usage

usage.MOST_WAITING, usage.BATCH_ROWS, usage.AGAIN_SECONDS = 10, 5, 0.1
setattr(books, "BATCH_ROWS", usage.BATCH_ROWS)  # noqa: B010
spill.SEGMENT, spill.MOST = 4_000, 40_000
journal.STEP, journal.MOST = 64, 128
if "HOMEPORT_TEST_SLOTS_STAY" in os.environ:
    setattr(journal.Journal, "free", lambda self, slots: None)  # noqa: B010
main()
