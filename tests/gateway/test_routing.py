from itertools import cycle
from typing import Any

import pytest

from homeport.errors import ModelNotFound, SettingsError
from homeport.gateway.routing import Router, Share, Target

LOCAL = Target("local", object(), "smol", "homeport")
REMOTE = Target("openai", object(), "gpt-4o", "openai")
EVERY = Target("farm", object(), "*", "farm")


def test_an_openai_name_is_the_local_model_until_somebody_claims_it() -> None:
    assert Router(models={"smol": LOCAL}, aliases={}, defaults=[("gpt-4o", "smol")]).targets("gpt-4o") == (LOCAL,)
    claimed = Router(models={"smol": LOCAL, "gpt-4o": REMOTE}, aliases={}, defaults=[("gpt-4o", "smol")])
    assert claimed.targets("gpt-4o") == (REMOTE,)


def test_a_wildcard_takes_every_name_that_is_not_local() -> None:
    router = Router(models={"smol": LOCAL}, aliases={}, wildcards=[EVERY], defaults=[("gpt-4", "smol")])
    assert router.targets("gpt-4")[0].backend is EVERY.backend
    assert router.targets("anything")[0].model == "anything"
    assert router.targets("smol") == (LOCAL,)


def test_an_alias_with_several_names_is_tried_in_order() -> None:
    router = Router(models={"smol": LOCAL, "gpt-4o": REMOTE}, aliases={"best": ("gpt-4o", "smol")})
    assert router.targets("best") == (REMOTE, LOCAL)


def test_an_alias_of_nothing_is_refused_at_start() -> None:
    with pytest.raises(SettingsError, match="'best' names 'nothing'"):
        Router(models={"smol": LOCAL}, aliases={"best": ("nothing",)})


def test_unknown_and_retired_names_get_openais_words() -> None:
    router = Router(models={"smol": LOCAL}, aliases={})
    with pytest.raises(ModelNotFound, match="The model `x` does not exist or you do not have access to it"):
        router.targets("x")
    with pytest.raises(ModelNotFound, match="`text-davinci-003` has been deprecated, learn more here"):
        router.targets("text-davinci-003")
    aliased = Router(models={"smol": LOCAL}, aliases={"text-davinci-003": ("smol",)})
    assert aliased.targets("text-davinci-003") == (LOCAL,)


A, B, C = (Target(name, object(), "m", name) for name in "abc")


def routed(*shares: Share, chances: tuple[float, ...] = (0.0,), **arguments: Any) -> Router:
    """A route `r`, where chance says this, again and again."""
    said = cycle(chances)
    return Router(**{"models": {}, "aliases": {}, **arguments}, routes={"r": shares}, chance=lambda: next(said))


@pytest.mark.parametrize(
    ("chance", "order"), [(0.0, "abc"), (0.699, "abc"), (0.7, "bac"), (0.899, "bac"), (0.9, "cab"), (0.999_999, "cab")]
)
def test_one_is_picked_by_its_weight_and_the_others_stand_in_for_it(chance: float, order: str) -> None:
    router = routed(Share(A, 7), Share(B, 2), Share(C, 1), chances=(chance,))
    assert "".join(target.name for target in router.targets("r")) == order


def test_the_shares_are_those_of_the_weights() -> None:
    router = routed(Share(A, 3), Share(B, 1), chances=tuple(number / 1000 for number in range(1000)))
    first = [router.targets("r")[0].name for _ in range(1000)]
    assert (first.count("a"), first.count("b")) == (750, 250)


def test_without_a_weight_it_stands_in_last() -> None:
    router = routed(Share(C, 0), Share(A, 1), Share(B, 1), chances=(0.0, 0.5))
    assert [[target.name for target in router.targets("r")] for _ in range(2)] == [["a", "b", "c"], ["b", "a", "c"]]


def test_without_any_weight_they_are_tried_in_order() -> None:
    assert routed(Share(B, 0), Share(A, 0)).targets("r") == (B, A)


def test_a_target_may_be_a_name() -> None:
    router = routed(Share("gpt-4o", 1), Share("smol", 0), models={"gpt-4o": REMOTE, "smol": LOCAL})
    assert router.targets("r") == (REMOTE, LOCAL)
    assert [(line.id, line.owner) for line in router.listed() if line.id == "r"] == [("r", "openai")]


def test_a_name_that_a_wildcard_answers_to_may_be_in_a_route() -> None:
    (first,) = routed(Share("far-model", 1), wildcards=[EVERY]).targets("r")
    assert (first.name, first.model) == ("farm", "far-model")


def test_an_alias_may_lead_to_a_route_alone() -> None:
    router = routed(Share(A, 1), Share(B, 1), chances=(0.0, 0.5), aliases={"nick": ("r",)})
    assert [router.targets("nick")[0].name for _ in range(2)] == ["a", "b"]
    with pytest.raises(SettingsError, match="'nick' names the route 'r' beside others"):
        routed(Share(A, 1), aliases={"nick": ("r", "smol")}, models={"smol": LOCAL})


@pytest.mark.parametrize(
    ("shares", "message"),
    [((), "'r' has no targets"), ((Share("nothing", 1),), "'r' names 'nothing', which is no model")],
)
def test_a_route_to_nowhere_is_refused_at_start(shares: tuple[Share, ...], message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        routed(*shares)


def test_an_alias_as_the_clients_see_it() -> None:
    router = Router(models={"smol": LOCAL, "gpt-4o": REMOTE}, aliases={"best": ("gpt-4o", "smol")})
    assert [line.alias_of for line in router.listed() if line.id == "best"] == ["gpt-4o"]
