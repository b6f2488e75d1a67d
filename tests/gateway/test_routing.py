import pytest

from homeport.errors import ModelNotFound, SettingsError
from homeport.gateway.routing import Router, Target

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
