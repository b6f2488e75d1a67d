"""Fine-tuning at a fake upstream: OpenAI's files and jobs, or Azure's, which go on as they are told.

    tuning = FakeTuning()                   # or FakeTuning(azure=True)
    fake.otherwise = tuning                 # what else comes is answered well
    tuning.faults["create"].append(cut)     # the next time a job is to be made
    tuning.run(job_id); tuning.train(job_id, 1, 2, 3); tuning.succeed(job_id)

A fault is a behaviour in the place of the operation (`refused(429)`), or after it was done (`done_and_cut`).
"""

import json
import re
import threading
from collections import defaultdict, deque
from itertools import count
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from tests.fake_upstream import Behaviour, Visit, answer_well, whole

Object = dict[str, Any]
RESULTS = b"step,train_loss,train_accuracy,valid_loss,valid_mean_token_accuracy\n1,0.5,0.9,0.6,0.8\n"
CREATED = 1_800_000_000
#: Method and path -> operation.
_OPERATIONS = (
    ("POST", r"/files", "upload"),
    ("GET", r"/files", "files"),
    ("GET", r"/files/([^/]+)", "file"),
    ("GET", r"/files/([^/]+)/content", "content"),
    ("DELETE", r"/files/([^/]+)", "forget"),
    ("POST", r"/fine_tuning/jobs", "create"),
    ("GET", r"/fine_tuning/jobs", "jobs"),
    ("GET", r"/fine_tuning/jobs/([^/]+)", "job"),
    ("DELETE", r"/fine_tuning/jobs/([^/]+)", "delete_job"),
    ("GET", r"/fine_tuning/jobs/([^/]+)/events", "events"),
    ("GET", r"/fine_tuning/jobs/([^/]+)/checkpoints", "checkpoints"),
    ("POST", r"/fine_tuning/jobs/([^/]+)/(cancel|pause|resume)", "act"),
    ("DELETE", r"/models/([^/]+)", "delete_model"),
)

#: No two fakes of a process call two things alike.
_numbers = count(1)


class _No(Exception):
    def __init__(self, status: int, message: str, code: str | None = None, param: str | None = None) -> None:
        self.status = status
        self.error = {"message": message, "type": "invalid_request_error", "param": param, "code": code}


def refused(status: int, code: str | None = None, message: str = "No.", **headers: str) -> Behaviour:
    error = {"message": message, "type": "invalid_request_error", "param": None, "code": code}
    return lambda visit: visit.send(whole(json.dumps({"error": error}).encode(), status, **headers))


def cut(visit: Visit) -> None:
    """Nothing is done, and nobody is told."""
    visit.reset()


class FakeTuning:
    """asked: operations, in their order. faults: of an operation, for the next times it is asked. keys: with which
    something was asked to be made."""

    def __init__(self, *, azure: bool = False) -> None:
        self.azure = azure
        self.files: dict[str, Object] = {}
        self.contents: dict[str, bytes] = {}
        self.jobs: dict[str, Object] = {}
        self.events: dict[str, list[Object]] = defaultdict(list)
        self.checkpoints: dict[str, list[Object]] = defaultdict(list)
        self.deleted: list[str] = []
        self.asked: list[str] = []
        self.credentials: set[str] = set()
        self.keys: list[str] = []
        self.faults: dict[str, deque[Behaviour]] = defaultdict(deque)
        self._lock = threading.RLock()

    def __call__(self, visit: Visit) -> None:
        parts = urlsplit(visit.path)
        path = parts.path.removeprefix("/openai" if self.azure else "/v1")
        for method, pattern, name in _OPERATIONS:
            if method == visit.method and (found := re.fullmatch(pattern, path)):
                query = {key: value[0] for key, value in parse_qs(parts.query).items()}
                assert (query.pop("api-version", None) == "2024-10-21") is self.azure, visit.path
                with self._lock:
                    self._operate(visit, name, [unquote(one) for one in found.groups()], query)
                return
        answer_well(visit)

    def _operate(self, visit: Visit, name: str, names: list[str], query: dict[str, str]) -> None:
        self.asked.append(name)
        self.credentials.add(visit.headers.get("api-key" if self.azure else "authorization", ""))
        if self.faults[name]:
            self.faults[name].popleft()(visit)
            return
        visit.send(self.answer(visit, name, names, query))

    def answer(self, visit: Visit, name: str, names: list[str], query: dict[str, str]) -> bytes:
        if name == "content":
            return whole(self.contents[names[0]], content_type="text/csv")
        try:
            if name in ("upload", "create"):
                self.keys.append(visit.headers["idempotency-key"])
                return whole(json.dumps(getattr(self, f"_{name}")(visit)).encode(), 201 if self.azure else 200)
            return whole(json.dumps(getattr(self, f"_{name}")(*names, **({"query": query} if query else {}))).encode())
        except _No as no:
            return whole(json.dumps({"error": no.error}).encode(), no.status)

    def done_and_cut(self, visit: Visit) -> None:
        """It is done, and the answer never comes."""
        parts = urlsplit(visit.path)
        name = "upload" if parts.path.endswith("/files") else "create"
        self.answer(visit, name, [], {})
        visit.reset()

    # What the upstream does

    def the_job(self) -> Object:
        (job,) = self.jobs.values()
        return job

    def run(self, job: Object) -> None:
        with self._lock:
            job["status"] = "running"
            chosen = job["method"][job["method"]["type"]]["hyperparameters"]
            chosen |= {"n_epochs": 3, "batch_size": 1, "learning_rate_multiplier": 1.8}
            job["estimated_finish"] = CREATED + 600
            self.tell(job, "Fine-tuning job started")

    def train(self, job: Object, *steps: int, total: int = 6) -> None:
        with self._lock:
            for step in steps:
                data = {"step": step, "total_steps": total, "train_loss": 1 / step, "train_mean_token_accuracy": 0.5}
                self.tell(job, f"Step {step}/{total}: training loss={1 / step:.2f}", type="metrics", data=data)

    def keep(self, job: Object, step: int) -> str:
        """A checkpoint. Its name."""
        with self._lock:
            name = f"{self._model(job)}:ckpt-step-{step}"
            made = {
                "id": f"ftckpt_{next(_numbers)}",
                "object": "fine_tuning.job.checkpoint",
                "created_at": CREATED,
                "fine_tuned_model_checkpoint": name,
                "fine_tuning_job_id": job["id"],
                "step_number": step,
                "metrics": {"step": step, "train_loss": 0.5, "full_valid_loss": 0.75},
            }
            self.checkpoints[job["id"]].insert(0, made)
            self.tell(job, f"Checkpoint created at step {step}")
            return name

    def succeed(self, job: Object, tokens: int = 4321, results: bytes | None = RESULTS) -> str:
        """The model's name."""
        with self._lock:
            job |= {"status": "succeeded", "trained_tokens": tokens, "finished_at": CREATED + 700}
            job |= {"fine_tuned_model": self._model(job), "estimated_finish": None}
            if results is not None:
                made = self._new_file("step_metrics.csv", "fine-tune-results", results)
                job["result_files"] = [made["id"]]
            self.tell(job, f"New fine-tuned model created: {job['fine_tuned_model']}")
            self.tell(job, "The job has successfully completed")
            return str(job["fine_tuned_model"])

    def fail(self, job: Object, code: str, message: str, param: str | None = None) -> None:
        with self._lock:
            job |= {"status": "failed", "error": {"code": code, "message": message, "param": param}}
            self.tell(job, f"The job failed due to {message}", level="error")

    def tell(self, job: Object, message: str, **more: Any) -> None:
        event = {"object": "fine_tuning.job.event", "id": f"ftevent-{next(_numbers)}", "created_at": CREATED}
        known = {"level": "info", "type": "message", "data": {}, "message": message, **more}
        self.events[job["id"]].insert(0, {**event, **known})

    def _model(self, job: Object) -> str:
        if self.azure:
            return f"{job['model']}.{job['id'].replace('ftjob', 'ft')}-{job['suffix'] or ''}"
        return f"ft:{job['model']}:their-org:{job['suffix'] or ''}:{job['id'][-4:]}"

    # What it is asked

    def _new_file(self, name: str, purpose: str, content: bytes) -> Object:
        made: Object = {
            "id": f"file-their{next(_numbers)}",
            "object": "file",
            "bytes": len(content),
            "created_at": CREATED,
            "filename": name,
            "purpose": purpose,
            "status": "pending" if self.azure else "processed",
            "status_details": None,
        }
        self.files[made["id"]], self.contents[made["id"]] = made, content
        return made

    def _upload(self, visit: Visit) -> Object:
        purpose, file = visit.parts
        assert (purpose.name, file.name) == ("purpose", "file")
        assert file.filename is not None
        return self._new_file(file.filename, purpose.content.decode(), file.content)

    def _files(self, query: Object | None = None) -> Object:
        purpose = (query or {}).get("purpose")
        return self._page([one for one in self.files.values() if one["purpose"] == purpose][::-1], query)

    def _file(self, file_id: str) -> Object:
        if file_id not in self.files:
            raise _No(404, f"No such File object: {file_id}")
        file = dict(self.files[file_id])
        self.files[file_id]["status"] = "processed"  # the next time
        return file

    def _forget(self, file_id: str) -> Object:
        if self.files.pop(file_id, None) is None:
            raise _No(404, f"No such File object: {file_id}")
        return {"id": file_id, "object": "file", "deleted": True}

    def _create(self, visit: Visit) -> Object:
        asked = visit.json
        for name in ("training_file", "validation_file"):
            if name in asked and asked[name] not in self.files:
                raise _No(400, f"{asked[name]} does not exist", "invalid_file", name)
        method = json.loads(json.dumps(asked.get("method") or {"type": "supervised"}))
        method.setdefault(method["type"], {}).setdefault("hyperparameters", asked.get("hyperparameters") or {})
        job: Object = {
            "object": "fine_tuning.job",
            "id": f"ftjob-their{next(_numbers)}",
            "created_at": CREATED,
            "model": asked["model"],
            "status": "validating_files",
            "training_file": asked["training_file"],
            "validation_file": asked.get("validation_file"),
            "suffix": asked.get("suffix"),
            "seed": asked.get("seed", 7),
            "metadata": None if self.azure else asked.get("metadata"),
            "integrations": asked.get("integrations") or [],
            "method": method,
            "hyperparameters": method[method["type"]]["hyperparameters"],
            "fine_tuned_model": None,
            "trained_tokens": None,
            "estimated_finish": None,
            "finished_at": None,
            "result_files": [],
            "error": {},
        }
        self.jobs[job["id"]] = job
        self.tell(job, f"Created fine-tuning job: {job['id']}")
        self.tell(job, f"Validating training file: {job['training_file']}")
        return job

    def _jobs(self, query: Object | None = None) -> Object:
        return self._page([*self.jobs.values()][::-1], query)

    def _job(self, job_id: str) -> Object:
        if job_id not in self.jobs:
            raise _No(404, f"Could not find fine tune: {job_id}", "fine_tune_not_found")
        return self.jobs[job_id]

    def _events(self, job_id: str, query: Object | None = None) -> Object:
        return self._page(self.events[self._job(job_id)["id"]], query)

    def _checkpoints(self, job_id: str, query: Object | None = None) -> Object:
        return self._page(self.checkpoints[self._job(job_id)["id"]], query)

    def _page(self, found: list[Object], query: Object | None) -> Object:
        """Two at a time, so that there are pages."""
        after = (query or {}).get("after")
        begin = next((at + 1 for at, one in enumerate(found) if one["id"] == after), 0)
        shown = found[begin : begin + 2]
        return {"object": "list", "data": shown, "has_more": begin + 2 < len(found)}

    def _act(self, job_id: str, action: str) -> Object:
        job = self._job(job_id)
        if job["status"] in ("succeeded", "failed", "cancelled"):
            raise _No(400, f"Job {job_id} has already completed with status: {job['status']}", "invalid_status")
        job["status"] = {"cancel": "cancelled", "pause": "paused", "resume": "queued"}[action]
        return job

    def _delete_job(self, job_id: str) -> Object:
        self._job(job_id)
        self.deleted.append(job_id)
        return {}

    def _delete_model(self, name: str) -> Object:
        self.deleted.append(name)
        return {"id": name, "object": "model", "deleted": True}
