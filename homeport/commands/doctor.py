"""`homeport doctor`: what is wrong, and what mends it."""

import argparse

from homeport.commands.parsing import Commands, command, settings_of


def add(commands: Commands) -> None:
    doctor = command(
        commands,
        "doctor",
        "tell what is installed, what is missing, and the command that mends it",
        "Look at this machine, its configuration and what is stored. Changes nothing. Ends with 1 when something needs "
        "mending.",
    )
    doctor.add_argument("--deep", action="store_true", help="read every stored file, too, and every page of a database")
    doctor.set_defaults(run=_doctor)


def _doctor(options: argparse.Namespace) -> int:
    from homeport.doctor import examine

    findings = examine(settings_of(options), deep=options.deep)
    for finding in findings:
        print(f"{'ok ' if finding.ok else 'no '} {finding.what}" + ("" if finding.ok else f"\n     {finding.mend}"))
    return 0 if all(finding.ok or finding.optional for finding in findings) else 1
