"""The parts of the bench about documents: that they run, and are told."""

from pathlib import Path

from bench import documents, ingestion
from bench.ingestion import Ingestion, Taken
from tests import model_files


def test_reading_and_cutting_are_measured(tmp_path: Path) -> None:
    found = documents.run(tmp_path, rounds=1, pages=2, share=0.001)
    assert [one.kind for one in found.reading] == [*documents.KINDS]
    assert all(one.pages_a_second > 0 for one in found.reading)
    assert all(one.tokens > 0 for one in found.cutting)
    told = found.table()
    assert "docx" in told
    assert "Chinese" in told


def test_the_way_into_a_store_is_measured(tmp_path: Path) -> None:
    found = ingestion.run(tmp_path, model_files.minilm(), files=1, pages=1, rounds=1)
    assert (found.files, found.pages) == (4, 4)
    assert found.windows > found.chunks > 4
    assert found.rounds.keys() == {ingestion.INGESTION, ingestion.READING, ingestion.CUTTING, ingestion.VECTORS}
    assert all(one.seconds > 0 for (one,) in found.rounds.values())
    assert "upload to completed" in found.table()
    (goal,) = found.goals()
    assert goal.value is not None


def test_a_round_is_held_against_itself() -> None:
    """The second round was slow for everybody."""
    rounds = {
        ingestion.INGESTION: [Taken(10.0, 1.0), Taken(30.0, 1.0)],
        ingestion.VECTORS: [Taken(8.5, 1.0), Taken(25.5, 1.0)],
    }
    (goal,) = Ingestion(1, 1, rounds=rounds).goals()
    assert goal.value == 85
    assert goal.verdict == "floor"
