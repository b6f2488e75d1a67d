"""The goals of the bench of speech follow from its figures."""

from bench.speaking import Speaking


def test_goals() -> None:
    found = Speaking(
        seconds={"hibari": 20.0},
        first={"hibari": [0.2, 0.1, 0.3]},
        cpu={"hibari": {"http": [2.1, 3.0, 2.2], "direct": [2.0, 2.0, 2.0]}},
        words=50,
        wrong={"hibari": 3},
        together={"hibari": (1.0, 2.0)},
        peak={"hibari": 3_000_000},
        characters=1000,
    )
    added, wrong = found.goals()
    assert (added.value, added.verdict) == (1.1, "floor"), "the median of the rounds"
    assert (wrong.value, wrong.verdict) == (6.0, "MISSED")
    row = found.table().splitlines()[-1]
    assert [cell.strip() for cell in row.split("|")[1:-1]] == [
        *("hibari", "200 ms", "0.110", "0.100"),
        *("3 of 50", "1.00 / 2.00 s", "3 MB"),
    ]
