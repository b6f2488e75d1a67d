from pathlib import Path

import pytest

from homeport import settings
from homeport.errors import SettingsError


def write(folder: Path, text: str) -> Path:
    file = folder / "homeport.toml"
    file.write_text(text, "utf-8")
    return file


def test_without_a_file_and_variables_everything_has_its_default(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert settings.load(environment={}) == settings.Settings()


def test_the_environment_lies_on_top_of_the_file(tmp_path: Path) -> None:
    file = write(tmp_path, '[server]\nport = 9000\n[upstreams.my-farm]\nmodels = ["a"]\n')
    loaded = settings.load(
        file,
        {
            "HOMEPORT_SERVER_PORT": "9001",
            "HOMEPORT_UPSTREAMS_MY_FARM_API_KEY": "k",
            "HOMEPORT_UPSTREAMS_MY_FARM_MODELS": "a, b",
            "HOMEPORT_CACHE_ENABLED": "true",
            "HOMEPORT_CACHE_SEMANTIC_MAX_ENTRIES": "7",
            "HOMEPORT_API_KEY": "not a setting",
        },
    )
    assert loaded.server.port == 9001
    assert loaded.upstreams["my-farm"].api_key == "k"
    assert loaded.upstreams["my-farm"].models == ("a", "b")
    assert loaded.cache.enabled is True
    assert loaded.cache.semantic.max_entries == 7


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[server]\nprot = 1\n", "unknown setting 'server.prot'. Did you mean 'port'?"),
        ("[upstreams.x]\nbase_ulr = 'y'\n", "unknown setting 'upstreams.x.base_ulr'. Did you mean 'base_url'?"),
        ("[sever]\n", "unknown setting 'sever'. Did you mean 'server'?"),
        ("[server]\nport = 'x'\n", "Expected `int`, got `str` at `server.port`"),
        ("[server]\nport = 70000\n", "at `server.port`"),
        ("[server\n", "is not valid TOML"),
        ("[routes.r]\ntargets = [{ weight = inf }]\n", "at `routes[...].targets[0].weight`"),
        ("[routes.r]\ntargets = [{ weight = -1 }]\n", "at `routes[...].targets[0].weight`"),
    ],
)
def test_what_is_wrong_is_named(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(SettingsError) as refused:
        settings.load(write(tmp_path, text), {})
    assert message in str(refused.value)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("HOMEPORT_SERVER_PROT", "Did you mean HOMEPORT_SERVER_PORT?"),
        ("HOMEPORT_SEVER_PORT", "Settings begin with HOMEPORT_SERVER_"),
    ],
)
def test_unknown_variables_are_refused(
    tmp_path: Path, name: str, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SettingsError) as refused:
        settings.load(environment={name: "1"})
    assert message in str(refused.value)


def test_a_file_that_was_asked_for_must_be_there(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="There is no configuration file"):
        settings.load(tmp_path / "none.toml", {})
