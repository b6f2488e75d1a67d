"""`homeport` as it is, but for the children of fine-tuning jobs, which have no weights and do as a test says.

HOMEPORT_TEST_REINS=FOLDER python -m tests.replicas.tuning serve ...
"""

import os

from homeport.cli import main
from homeport.jobs import fine_tuning_run, trainer
from tests.jobs.tuned import PREPARER, TRAINER

trainer.PREPARER, trainer.TRAINER = PREPARER, (*TRAINER, os.environ["HOMEPORT_TEST_REINS"])
fine_tuning_run.TELL_SECONDS = 0.1
main()
