"""What is told of a run when its state changes (store/events.py), in its order: by its worker where it has one, else by
whoever changes it."""

import msgspec

from homeport.control import messages, run_states, run_steps
from homeport.control.run_states import Ended, Run
from homeport.control.run_steps import Step

#: Its name, and the object.
Event = tuple[str, bytes]


def of_run(run: Run, status: str | None = None, waiting: Step | None = None) -> Event:
    """status: where it is another than the row's (`created`). waiting: of one that requires action, the step."""
    shown = run_states.as_object(run, run_steps.pending(waiting))
    return f"thread.run.{status or run['status']}", msgspec.json.encode(shown)


def of_step(step: Step, run: Run) -> Event:
    """That it has ended."""
    return f"thread.run.step.{step['status']}", msgspec.json.encode(run_steps.as_object(step, run))


def of_end(ended: Ended) -> list[Event]:
    """What ended with it, and then the run."""
    thread_id = ended.run["thread_id"]
    halves = [msgspec.json.encode(messages.as_object(one, thread_id)) for one in ended.messages]
    return [
        *[("thread.message.incomplete", half) for half in halves],
        *[of_step(step, ended.run) for step in ended.steps],
        of_run(ended.run),
    ]
