"""docs/telemetry.md names every metric, as the code has it, and no other."""

import re
from pathlib import Path

from homeport.telemetry import FAMILIES

PAGE = (Path(__file__).parents[2] / "docs" / "telemetry.md").read_text("utf-8")


def test_every_metric_is_on_the_page_as_it_is() -> None:
    for family in FAMILIES:
        labels = ", ".join(f"`{label}`" for label in family.labels)
        assert f"| `{family.shown}` | {family.kind} | {labels} | {family.help} |" in PAGE


def test_the_page_names_no_other_metric() -> None:
    named = set(re.findall(r"\b((?:homeport|gen_ai|process)_[a-z_]+)", PAGE))
    suffixes = ("", "_sum", "_bucket", "_count")
    known = {family.shown + suffix for family in FAMILIES for suffix in suffixes}
    labels = {label for family in FAMILIES for label in family.labels}
    assert named <= known | labels
