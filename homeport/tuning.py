"""The part of the composition root for fine-tuning: who may ask for it, who does it, and what becomes of both."""

from collections.abc import Collection, Sequence
from contextlib import suppress
from importlib.util import find_spec

from homeport.api.fine_tuning import FineTuning as FineTuningOperations
from homeport.api.resources import Operation
from homeport.backends.tuning.tunable import Tunable
from homeport.backends.upstreams.fine_tuning import FineTuning as Tuner
from homeport.batching import Gateway
from homeport.control.fine_tuned_models import FineTunedModels
from homeport.control.fine_tuning import Base, FineTuning
from homeport.control.fine_tuning_events import FineTuningEvents
from homeport.control.fine_tuning_forwarding import Forwarding
from homeport.control.fine_tuning_states import LANE
from homeport.control.owners import Owner
from homeport.errors import ModelNotFound, Unavailable
from homeport.jobs import fine_tuning_run, trainer
from homeport.jobs.batch_lines import Callers
from homeport.jobs.fine_tuning import Book, Booking, TrainedBy, Validate, Workshop
from homeport.jobs.fine_tuning_folder import Folders
from homeport.jobs.fine_tuning_run import Train
from homeport.jobs.fine_tuning_upstream import Follow
from homeport.jobs.worker import Handler
from homeport.settings import Settings
from homeport.store.blobs import Blobs
from homeport.store.queue import Queue


class Tuning:
    """Fine-tuning jobs, their operations and who works on them."""

    def __init__(self, settings: Settings, queue: Queue, blobs: Blobs, gateway: Gateway) -> None:
        """gateway: whose keys, models, limits and prices hold."""
        self._settings = settings
        self._queue = queue
        self._blobs = blobs
        tuned = {name: getattr(one, "fine_tuning", None) for name, one in gateway.upstreams.items()}
        #: Those that can be asked to: what answers from recordings cannot.
        self._upstreams = {name: one for name, one in tuned.items() if isinstance(one, Tuner)}
        self._forwarding = Forwarding(queue, blobs, self._upstreams)
        callers, tunable = gateway.callers(queue.database), Tunable.of(settings)
        self._models = Models(settings, gateway, callers, self._upstreams)
        self._workshop = Workshop(
            queue,
            blobs,
            Folders(settings.data / "fine_tuning", blobs),
            Booking(callers, gateway.training_bills),
            base=lambda name: tunable.base(name).path,
            settings=settings.fine_tuning,
            organization=settings.server.organization,
            preparer=trainer.PREPARER,
            trainer=trainer.TRAINER,
        )
        self._events = FineTuningEvents(queue.database, gateway.holds)

    def operations(self) -> Sequence[Operation]:
        organization = f"org-{self._settings.server.organization}"
        jobs = FineTuning(self._queue, self._blobs, self._models, self._forwarding, organization=organization)
        made = FineTunedModels(self._blobs, self._models.known, self._forwarding)
        return FineTuningOperations(jobs, self._events, made).operations()

    def handlers(self) -> Sequence[Handler]:
        shop, by = self._workshop, trained_by(self._settings)
        return [
            Validate(shop, trained_by=by),
            Train(shop, trained_by=by),
            Book(shop),
            Follow(self._queue, self._blobs, self._upstreams, shop.booking),
        ]

    async def open(self) -> None:
        """What killed processes have left of jobs that have ended goes from this machine."""
        with suppress(Unavailable):  # it is looked at again before the next job is trained
            await fine_tuning_run.sweep(self._workshop)

    def drain(self) -> None:
        """From any thread."""
        self._events.drain()

    async def close(self) -> None:
        """Once nobody works any more."""
        self._workshop.folders.close()


class Models:
    """What the rules of fine-tuning must know of models, keys and money (control/fine_tuning.py)."""

    def __init__(self, settings: Settings, gateway: Gateway, callers: Callers, upstreams: Collection[str]) -> None:
        """upstreams: that can be asked to tune their models."""
        self._gateway = gateway
        self._callers = callers
        self._upstreams = upstreams
        self._tunable = Tunable.of(settings)
        lanes = settings.jobs.lanes
        works = settings.jobs.in_server and (not lanes or LANE in lanes)
        self._trained = not works or trained_by(settings) != "nobody"

    def base(self, model: str) -> Base:
        try:
            target = self._gateway.router.targets(model)[0]
        except ModelNotFound:
            return Base(self._tunable.base(model).name)  # it is none, and that says which are
        return Base(target.model, None if target.local else target.name)

    async def admit(self, owner: Owner, model: str, base: Base) -> None:
        principal = await self._callers.of(owner.key_id)
        principal.may_use(model)
        self._gateway.limits.check_tier(principal, model)
        if base.upstream is None:
            self._tunable.base(base.name)
            if not self._trained:
                raise Unavailable(
                    "This server cannot fine-tune models yet: the trainer is not installed. Whoever runs it brings it "
                    "with pip install 'homeport[train]', or has another machine do it: docs/fine-tuning.md.",
                    code="trainer_not_installed",
                    headers=(("x-should-retry", "false"),),
                )
        elif base.upstream not in self._upstreams:
            self._tunable.base(model)
        training = {"base": base.name, "model": model, "upstream": base.upstream}
        await self._gateway.training_bills.check(principal, training)

    def known(self, model: str) -> bool:
        return any(listed.id == model for listed in self._gateway.router.listed())


def trains() -> bool:
    """What the trainer needs is installed: the extra `train`."""
    return find_spec("torch") is not None


def trained_by(settings: Settings) -> TrainedBy:
    """Where the database is this machine's, nobody else can train."""
    if trains():
        return "here"
    return "others" if settings.database_url is not None else "nobody"
