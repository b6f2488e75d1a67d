"""The pages that are made from the code are what the code would write now; the README names what is there."""

import importlib.util
import re
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from starlette.routing import Route

from homeport.api import control
from homeport.control.changes import Changes
from homeport.gateway.tiers import Tiers

ROOT = Path(__file__).parents[2]


def maker() -> ModuleType:
    spec = importlib.util.spec_from_file_location("docs_make", ROOT / "docs" / "make.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("page", ["configuration.md", "compatibility.md"])
def test_made_pages_are_up_to_date(page: str) -> None:
    assert (ROOT / "docs" / page).read_text("utf-8") == maker().MADE[page](), "run `make docs`"


def test_every_route_of_the_control_plane_is_on_the_page() -> None:
    nothing: Any = None
    told = (ROOT / "docs" / "compatibility.md").read_text("utf-8")
    names: dict[str, Any] = {"changes": Changes(nothing), "tiers": Tiers()}
    others = dict.fromkeys(("spent", "usage", "find", "used", "newest", "fullness"), nothing)
    for route in control.routes(nothing, **names, **others, organization=""):
        assert isinstance(route, Route)
        for method in set(route.methods or ()) - {"HEAD"}:
            assert f"| `{method} {route.path_format}` |" in told


def test_links_between_pages_lead_somewhere() -> None:
    for page in (ROOT / "README.md", *ROOT.glob("docs/**/*.md")):
        for target in re.findall(r"\]\(([^)#:]+)\)", page.read_text("utf-8")):
            assert (page.parent / target).exists(), f"{page.name} links to {target}"


def test_the_architecture_page_names_files_that_exist() -> None:
    text = (ROOT / "docs" / "architecture.md").read_text("utf-8")
    for path in re.findall(r"`((?:api|gateway|backends|wire|store|control|jobs|homeport)/[\w/]+\.py)`", text):
        here = ROOT / path if path.startswith("homeport/") else ROOT / "homeport" / path
        assert here.exists(), path
