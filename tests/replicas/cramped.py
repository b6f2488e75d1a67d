"""`homeport` as it is, where little fits into memory and on disk: a test need not fill a gigabyte.

python -m tests.replicas.cramped serve ...
"""

from homeport.cli import main
from homeport.store import journal, spill, usage

usage.MOST_WAITING, usage.BATCH_ROWS, usage.AGAIN_SECONDS = 10, 5, 0.1
spill.SEGMENT, spill.MOST = 4_000, 40_000
journal.STEP, journal.MOST = 64, 128
main()
