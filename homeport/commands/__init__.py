"""The subcommands of `homeport`, in the order of its help. Each has an `add`, which declares it.

Each imports what it needs when it runs, so that `homeport --help` answers at once.
"""

from homeport.commands import backups, doctor, fine_tune, imports, keys, models, recordings, serve

ALL = (serve, models, keys, recordings, backups, imports, fine_tune, doctor)
