"""What the person who starts a run has to mend."""


class Refused(Exception):
    """Its message says what is wrong and what to do; it is all that is shown."""
