"""What is asked of the process that makes examples of a fine-tuning job's files, and what it answers.

In the job's folder (training/text/job.py), beside what the trainer finds there:

    prepare.json             Preparation: what is to be done
    training.raw.jsonl       the file as it was uploaded
    validation.raw.jsonl     the same, where there is one
    prepared.json            Prepared: what has come of it; written last
    training.jsonl, validation.jsonl    Example or Pair, a line each; not there where there are errors
"""

import msgspec

from homeport.training.text.job import Method
from homeport.wire.fine_tuning import FineTuningError

PREPARE, PREPARED = "prepare.json", "prepared.json"
RAW_TRAINING, RAW_VALIDATION = "training.raw.jsonl", "validation.raw.jsonl"
#: OpenAI's: "The minimum number of examples you can provide for fine-tuning is 10" (guide "Supervised fine-tuning").
LEAST_EXAMPLES = 10


class Preparation(msgspec.Struct, frozen=True, kw_only=True):
    """base: path of the GGUF that serves. model: what errors call it. max_length: tokens of an example; what goes
    beyond is cut off. least: examples of the training file. nice: taken off the priority of the process."""

    base: str
    model: str
    method: Method
    max_length: int
    least: int = LEAST_EXAMPLES
    nice: int = 0


class LineError(msgspec.Struct, frozen=True):
    """line: from 1, blank ones counted; None: it is the file as a whole. param: where in the line."""

    message: str
    line: int | None = None
    param: str | None = None


class FileReport(msgspec.Struct, kw_only=True):
    """lines: that are not blank. examples: that they have become, of the trainer's; a conversation may become several.
    tokens: of these examples (of a pair both its answers, each with all that stands before it); learnt: of those.
    truncated: examples of which something was cut off. errors: the first ones; wrong: of how many there are. warnings:
    sentences, for whoever asked for the job."""

    lines: int = 0
    examples: int = 0
    tokens: int = 0
    learnt: int = 0
    longest: int = 0
    truncated: int = 0
    errors: list[LineError] = []
    wrong: int = 0
    warnings: list[str] = []


class Prepared(msgspec.Struct, frozen=True, kw_only=True):
    training: FileReport
    validation: FileReport | None = None

    def error(self) -> FineTuningError | None:
        """Of the job, whose files are not what they must be; None: they are."""
        for param, report in (("training_file", self.training), ("validation_file", self.validation)):
            if report is not None and report.wrong:
                return FineTuningError(f"invalid_{param}", _told(param, report), param)
        return None


def _told(param: str, report: FileReport) -> str:
    told = [_one(error) for error in report.errors]
    if more := report.wrong - len(told):
        told.append(f"And {more} more.")
    errors = "1 error" if report.wrong == 1 else f"{report.wrong} errors"
    return f"Invalid {param.replace('_', ' ')}: {errors}. {' '.join(told)}"


def _one(error: LineError) -> str:
    where = [f"Line {error.line}"] if error.line is not None else []
    where += [error.param] if error.param else []
    return f"{', '.join(where)}: {error.message}" if where else error.message
