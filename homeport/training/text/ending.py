"""Why a run does not go on: what whoever asked for it, or whoever began it, is told.

Exception
 |- Refused   the folder, the machine or the command is not what it has to be: status 2, its words on stderr
 |- Failed    this job cannot be done: `Ended("failed")` with its words, status 1
 `- Stopped   it was asked to end
Anything else is a crash: whoever began it may try again.
"""

from typing import Literal


class Refused(Exception):
    """Its message says what is wrong and what to do; it is all that is shown."""


class Failed(Exception):
    """For whoever asked for the job: no paths, no content."""


class Stopped(Exception):
    """how: `left` when the process that began it has ended: the state is written, and nothing is said."""

    def __init__(self, how: Literal["cancelled", "paused", "left"]) -> None:
        super().__init__(how)
        self.how = how
