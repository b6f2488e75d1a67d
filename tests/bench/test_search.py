"""The parts of the bench about search: that they run, and are told."""

from pathlib import Path

from bench import retrieval, search
from bench.stores import SQLITE
from tests import model_files


def test_searches_are_measured(tmp_path: Path) -> None:
    found = search.run(tmp_path, sizes=(120,), count=2, names=(SQLITE,))
    (measured,) = found.by[SQLITE]
    assert measured.chunks == 120
    assert {*measured.by} == {*search.WAYS, search.FILTERED}
    assert "120 chunks" in found.table()


def test_quality_is_measured(tmp_path: Path) -> None:
    found = retrieval.run(tmp_path, model_files.minilm(), most=40, queries=10)
    assert (found.documents, found.queries) == (40, 10)
    for ways in found.by.values():
        assert ways["both"].recall > 0.5
    assert "recall@10" in found.table()


def test_a_document_does_not_say_its_name_or_its_query() -> None:
    text = """Return the index of the first thing that is larger.

    The function bisect_things looks for it, from the left to the right, and tells where it is. Where there is none, the
    length of the whole list is the answer, so that whatever is put in at that place comes after all the others that
    are there already, however many of these there may be.
    """
    known = retrieval.known_of("things.bisect_things", text)
    assert known is not None
    assert known.query == "Return the index of the first thing that is larger."
    assert known.query not in known.document
    assert "bisect_things" not in known.document
