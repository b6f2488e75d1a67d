"""The process in which OpenVINO runs one model: `python -m homeport.backends.engines.openvino_worker`.

OpenVINO's pipeline holds Python's lock through every step (20 to 400 ms here), which would stop the server's loop. So
it has a process of its own, and the engine (openvino.py) speaks with it in lines of JSON, token ids only:

    in   {"path": TEXT, "threads": N, "places": N, "blocks": N, "ends": [ids]}    the first line: what to load
         {"add": ID, "prompt": [ids], "most": N, "temperature": X, "top_p": X, "seed": N, "ignore_eos": BOOL}
         {"drop": ID}
    out  {"ready": VERSION} or {"failed": TEXT}
         {"said": [[ID, [ids], "" or "stop" or "length"], ...]}                  after a step, for who has something new
         {"refused": ID}

The end of its input ends it.
"""

import os
import select
import signal
import sys
from typing import Any

import msgspec

#: Tokens that one step computes at most. A dropped request, or a new one, waits for the end of the step.
STEP = 256
#: Tokens of a block of the key-value cache.
BLOCK = 32
#: Below this the softmax overflows, and the likeliest token is what is meant.
COLDEST = 1e-3


def forbid_telemetry() -> None:
    """`import openvino` sends an event to its makers' analytics, unless this package of its cannot be imported."""
    sys.modules["openvino_telemetry"] = None  # type: ignore[assignment]


class Inbox:
    """Whole lines from a file descriptor."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._rest = b""
        self._kept: list[dict[str, Any]] = []

    def first(self) -> dict[str, Any] | None:
        """Only the first one: the others, which may have come with it, are taken later."""
        messages = self.take(wait=True)
        if not messages:
            return None
        self._kept = messages[1:]
        return messages[0]

    def take(self, *, wait: bool) -> list[dict[str, Any]] | None:
        """What has come. wait: at least one. None at the end of the input."""
        messages, self._kept = self._kept, []
        while select.select([self._descriptor], [], [], None if wait and not messages else 0)[0]:
            data = os.read(self._descriptor, 2**20)
            if not data:
                return None
            *lines, self._rest = (self._rest + data).split(b"\n")
            messages += map(msgspec.json.decode, lines)
        return messages


class Worker:
    """The pipeline and what runs in it. tell: sends one message."""

    def __init__(self, settings: dict[str, Any], tell: Any) -> None:
        import numpy
        import openvino
        import openvino_genai

        self._numpy, self._openvino, self._genai = numpy, openvino, openvino_genai
        self._tell = tell
        self._ends = set(settings["ends"])
        self._handles: dict[int, Any] = {}
        scheduler = openvino_genai.SchedulerConfig()
        scheduler.num_kv_blocks = settings["blocks"]
        scheduler.max_num_seqs = settings["places"]
        scheduler.max_num_batched_tokens = STEP
        scheduler.enable_prefix_caching = True
        properties = {"INFERENCE_NUM_THREADS": settings["threads"]}
        self._pipeline = openvino_genai.ContinuousBatchingPipeline(settings["path"], scheduler, "CPU", properties)
        self._warm_up()

    @property
    def version(self) -> str:
        return str(self._genai.get_version())

    def run(self, inbox: Inbox) -> None:
        while (messages := inbox.take(wait=not self._pipeline.has_non_finished_requests())) is not None:
            for message in messages:
                if "add" in message:
                    self._add(message["add"], message)
                else:
                    self._drop(message["drop"])
            if self._pipeline.has_non_finished_requests():
                self._pipeline.step()
            self._report()

    def _warm_up(self) -> None:
        """The first prompt and the first token make OpenVINO prepare its kernels."""
        self._pipeline.add_request(0, self._tensor([1] * 8), self._config(2, ignore_eos=True))
        while self._pipeline.has_non_finished_requests():
            self._pipeline.step()

    def _tensor(self, prompt: list[int]) -> Any:
        return self._openvino.Tensor(self._numpy.array([prompt], dtype=self._numpy.int64))

    def _config(self, most: int, *, ignore_eos: bool) -> Any:
        config = self._genai.GenerationConfig()
        config.apply_chat_template = False
        config.max_new_tokens = most
        config.ignore_eos = ignore_eos
        if not ignore_eos:
            config.stop_token_ids = self._ends
        return config

    def _add(self, number: int, asked: dict[str, Any]) -> None:
        config = self._config(asked["most"], ignore_eos=asked["ignore_eos"])
        config.do_sample = asked["temperature"] >= COLDEST and asked["top_p"] > 0
        if config.do_sample:
            config.temperature = asked["temperature"]
            config.top_p = asked["top_p"]
            config.rng_seed = asked["seed"]
        try:
            self._handles[number] = self._pipeline.add_request(number, self._tensor(asked["prompt"]), config)
        except Exception as error:
            sys.stderr.write(f"OpenVINO refused a request: {error}\n")
            self._tell({"refused": number})

    def _drop(self, number: int) -> None:
        handle = self._handles.pop(number, None)
        if handle is not None:
            handle.cancel()

    def _report(self) -> None:
        said = [(number, *self._read(handle)) for number, handle in self._handles.items() if handle.can_read()]
        ended = {number for number, _, finish in said if finish}
        self._handles = {number: handle for number, handle in self._handles.items() if number not in ended}
        if said:
            self._tell({"said": said})
        if not self._pipeline.has_non_finished_requests():
            for number in self._handles:  # these ended without a word
                self._tell({"refused": number})
            self._handles.clear()

    def _read(self, handle: Any) -> tuple[list[int], str]:
        tokens: list[int] = []
        finish = ""
        reasons = self._genai.GenerationFinishReason
        while handle.can_read():
            for output in handle.read().values():
                tokens += output.generated_ids
                finish = {reasons.STOP: "stop", reasons.LENGTH: "length"}.get(output.finish_reason, "")
        return tokens, finish


def main() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the server says when to end
    channel = os.dup(1)
    os.dup2(2, 1)  # what the library prints must not mix with the messages

    def tell(message: dict[str, Any]) -> None:
        data = msgspec.json.encode(message) + b"\n"
        while data:
            data = data[os.write(channel, data) :]

    forbid_telemetry()
    inbox = Inbox(0)
    settings = inbox.first()
    if settings is None:
        return
    try:
        worker = Worker(settings, tell)
    except Exception as error:
        tell({"failed": str(error)})
        return
    tell({"ready": worker.version})
    try:
        worker.run(inbox)
    except BrokenPipeError:
        return  # the server is gone


if __name__ == "__main__":
    main()
