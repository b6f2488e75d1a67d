"""Names of fine-tuned models: what they lead to, for whom, and which lists let them through."""

import asyncio
from collections.abc import Collection, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from homeport.backends.capabilities import Answer, Call, Frame
from homeport.errors import ModelNotFound, PermissionDenied
from homeport.gateway.accounts import Snapshot
from homeport.gateway.keyring import Models
from homeport.gateway.routing import Router, Target
from homeport.gateway.tuned import Tuned, TunedModels

NAME = "ft:gpt-4o-mini:home::12345678"
MINE = Tuned(NAME, "gpt-4o-mini", "tiny", None, "abc", 1, frozenset({"p1", "p2"}))
TWIN = replace(MINE, name="ft:gpt-4o-mini:home::87654321")
HERE = Target("local", object(), "tiny", "homeport", local=True)
FAR = replace(MINE, name="ft:gpt-4o:far::1", base="gpt-4o", upstream="far", digest=None)


class Base:
    """A model of this machine. adapters: what was over it, request by request."""

    def __init__(self) -> None:
        self.adapters: list[Path | None] = []

    async def chat(self, call: Call) -> Answer:
        self.adapters.append(call.adapter)
        return Answer(Frame(b"{}"))

    async def embed(self, call: Call) -> Answer:
        raise PermissionDenied("no")

    def lines_at_once(self, capability: str) -> int | None:
        return 7


class Files:
    def __init__(self) -> None:
        self.dropped: list[str] = []
        self.kept: list[str] = []

    async def file(self, digest: str) -> Path:
        return Path(f"/{digest}.gguf")

    async def drop(self, digests: Collection[str]) -> None:
        self.dropped += digests

    async def keep(self, digests: Collection[str]) -> None:
        self.kept += digests


class House:
    def __init__(self, *tuned: Tuned, wildcards: bool = False, **router: Any) -> None:
        self.base = Base()
        self.files = Files()
        self.has(*tuned)
        any_name = Target("any", object(), "*", "any")
        here = Target("local", self.base, "tiny", "homeport", local=True)
        self.router = Router(
            **{"models": {"tiny": here}, "aliases": {}, "wildcards": [any_name] if wildcards else [], **router}
        )
        self.looks = 0
        self.coming: Sequence[Tuned] = ()
        self.models = TunedModels(
            lambda: self.snapshot,
            self.files,
            self.look,
            held={"tiny": self.base},
            through=lambda upstream, model: {"far": Target("far", self, model, "far")}[upstream],
            organization="home",
        )
        self.router.tuned = self.models

    async def look(self) -> None:
        self.looks += 1
        coming = self.coming
        await asyncio.sleep(0)
        self.has(*coming)

    def has(self, *tuned: Tuned) -> None:
        self.snapshot = Snapshot(tuned={one.name: one for one in tuned})


def test_it_is_its_base_with_its_adapter() -> None:
    house = House(MINE)
    (target,) = house.router.targets(NAME, "p1")
    assert (target.name, target.model, target.base, target.owner, target.local) == ("local", NAME, "tiny", "home", True)
    call = Call("chat.completions", "req_1", NAME, b"{}")
    asyncio.run(target.backend.chat(call))
    assert house.base.adapters == [Path("/abc.gguf")]
    assert call.adapter is None, "another target may be asked after it"
    assert target.backend.lines_at_once("chat") == 7
    with pytest.raises(PermissionDenied):
        asyncio.run(target.backend.embed(call))


def test_it_is_the_same_target_until_it_changes() -> None:
    """What is remembered of targets, the cache's rules for one, stays."""
    house = House(MINE)
    first = house.router.targets(NAME, "p1")
    house.has(replace(MINE), FAR)
    assert house.router.targets(NAME, "p2") == first
    house.has(replace(MINE, digest="def"))
    assert house.router.targets(NAME, "p1") != first


def test_another_project_does_not_know_it() -> None:
    house = House(MINE, wildcards=True)
    with pytest.raises(ModelNotFound, match="does not exist or you do not have access to it"):
        house.router.targets(NAME, "p3")
    assert house.router.targets(NAME)[0].model == NAME, "whoever asks for nobody may"
    assert [line.id for line in house.models.listed("p1")] == [NAME]
    assert house.models.listed("p3") == []


def test_a_name_that_nobody_has_goes_on_as_before() -> None:
    assert House(MINE, wildcards=True).router.targets("ft:x:y::z", "p1")[0].name == "any"
    with pytest.raises(ModelNotFound):
        House(MINE).router.targets("ft:x:y::z", "p1")


def test_one_that_was_made_a_moment_ago_is_looked_for() -> None:
    """Once for all who come meanwhile, and not for those that are known."""
    house = House(MINE)
    house.coming = [MINE, FAR]

    async def ask() -> None:
        await house.router.look_for(NAME)
        await house.router.look_for("tiny")
        assert house.looks == 0
        await asyncio.gather(*[house.router.look_for(FAR.name) for _ in range(5)])
        assert house.looks <= 2
        assert house.router.targets(FAR.name, "p1")[0].name == "far"
        await house.router.look_for("ft:nobody")
        assert house.looks <= 3

    asyncio.run(ask())


def test_the_settings_go_before() -> None:
    house = House(MINE, aliases={NAME: ("tiny",)})
    assert house.router.targets(NAME, "p3")[0].model == "tiny"


def test_an_upstreams_is_asked_for_there() -> None:
    (target,) = House(FAR).router.targets(FAR.name, "p1")
    assert (target.name, target.model, target.base) == ("far", FAR.name, "")


@pytest.mark.parametrize(
    ("tuned", "told"),
    [
        (replace(MINE, base="gone"), r'the model `gone`.*\[models\."gone"\]'),
        (replace(FAR, upstream="gone"), r"the upstream `gone`.*\[upstreams\.gone\]"),
    ],
    ids=["model", "upstream"],
)
def test_what_it_was_made_from_is_gone(tuned: Tuned, told: str) -> None:
    with pytest.raises(ModelNotFound, match=told):
        House(tuned).router.targets(tuned.name, "p1")


CHECKPOINT = f"{NAME}:ckpt-step-5"


@pytest.mark.parametrize(
    ("mode", "listed", "own", "may"),
    [
        ("allow_list", ["gpt-4o-mini"], None, True),
        ("allow_list", [NAME], None, True),
        ("allow_list", ["tiny"], None, False),
        ("allow_list", ["gpt-4o"], None, False),
        ("deny_list", ["gpt-4o-mini"], None, False),
        ("deny_list", [NAME], None, False),
        ("deny_list", ["tiny"], None, True),
        ("allow_list", ["gpt-4o-mini"], ["gpt-4o"], False),
        ("allow_list", ["gpt-4o-mini"], [NAME], True),
    ],
    ids=str,
)
def test_lists_name_it_or_what_it_was_made_from(mode: str, listed: list[str], own: list[str] | None, may: bool) -> None:
    """Its checkpoints go with it."""
    models = Models.of({"mode": mode, "model_ids": listed}, own)
    assert models.admit(NAME) is may
    assert models.admit(CHECKPOINT) is may


def test_a_list_may_name_a_checkpoint_alone() -> None:
    models = Models.of(None, [CHECKPOINT])
    assert models.admit(CHECKPOINT)
    assert not models.admit(NAME)
    assert not models.admit("ft:")


def test_files_go_when_no_model_has_them(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first look keeps what is there; after that a file goes with the last model that has it."""
    monkeypatch.setattr("homeport.gateway.tuned.LOOK_SECONDS", 0.0)
    files = Files()
    looks = [Snapshot(tuned={one.name: one for one in some}) for some in ([MINE, TWIN], [MINE], [FAR], [FAR])]

    def snapshot() -> Snapshot:
        if not looks:
            raise asyncio.CancelledError
        return looks.pop(0)

    async def look() -> None:
        """Nothing comes."""

    models = TunedModels(snapshot, files, look, held={}, through=lambda *_: HERE, organization="home")
    with pytest.raises(asyncio.CancelledError):
        asyncio.run(models.watch())
    assert (files.kept, files.dropped) == (["abc"], ["abc"])
