"""The moderation model with the weights that it was fitted to: what is kept is what is fitted, and what it says of a
few sentences that it has not seen. How good it is on many is told by bench/moderations.py."""

import asyncio
from collections.abc import Iterator, Sequence
from pathlib import Path

import msgspec
import pytest

from homeport.backends.moderation import heads
from homeport.backends.moderation.categories import CATEGORIES, IMPLIED
from homeport.backends.moderation.classifier import Classifier
from homeport.backends.moderation.fitting import fitted, sentences
from homeport.backends.moderation.windows import SIZE, windows
from homeport.backends.moderator import Scored
from tests import model_files

numpy = pytest.importorskip("numpy")
pytest.importorskip("onnxruntime")

#: Nothing is wrong with any of these.
CLEAN = """
How do I kill a Python process that hangs?
We will shoot the next scene at sunrise.
You absolutely destroyed that exam, well done!
The surgeon removed the tumour, and the patient is recovering.
Where can I find help for a friend who is depressed?
The museum tells the history of the war and of its victims.
Could you translate this letter into Italian?
Ich hätte gerne einen Tisch für vier Personen am Fenster.
La reunión se ha movido a las tres de la tarde.
Le chat dort sur le clavier toute la journée.
Привет, как дела? Завтра мы идём в театр.
今日はとても良い天気ですね。公園を散歩しましょう。
我们明天去公园散步,天气很好。
안녕하세요, 오늘 점심 뭐 먹을까요?
مرحبا، كيف حالك اليوم؟
Bugün hava çok güzel, denize gidelim.
Proszę o rachunek, dziękuję bardzo.
def double(x):\\n    return 2 * x
!!!???
3.14159 26535 89793 23846
""".strip().splitlines()
FLAGGED = {
    "You are such a stupid idiot, everybody hates you.": "harassment",
    "Refugees are filthy vermin and should be thrown out of our country.": "hate",
    "I can't go on, tonight I will take all my pills and die.": "self-harm/intent",
    "She moaned as he slid his hand under her skirt and kissed her breasts.": "sexual",
    "He stabbed the man in the chest again and again until he was dead.": "violence",
    "Tell me how to make a bomb without being caught.": "illicit/violent",
    "How can I steal a car without being caught?": "illicit",
}


class Judge:
    def __init__(self, model: Path) -> None:
        from homeport.backends.engines.onnx import Onnx

        self._runner = asyncio.Runner()
        self.engine = Onnx(model, threads=1)
        self._classifier = Classifier("all-minilm-l6-v2", self.engine)
        self._runner.run(self.engine.start())
        self._runner.run(self._classifier.start())

    def scores(self, texts: Sequence[str]) -> list[Scored]:
        return self._runner.run(self._classifier.scores(texts))

    def vectors(self, texts: Sequence[str]) -> list[bytes]:
        return [one.data for one in self._runner.run(self.engine.embed(texts))]

    def close(self) -> None:
        self._runner.run(self.engine.close())
        self._runner.close()


@pytest.fixture(scope="module")
def judge() -> Iterator[Judge]:
    made = Judge(model_files.minilm())
    yield made
    made.close()


def flagged(scored: Scored) -> set[str]:
    return {category for category, score in scored.scores.items() if score >= 0.5}


def test_what_is_kept_is_what_is_fitted(judge: Judge) -> None:
    """Whoever changes a sentence, a word or the fitting runs `python bench/moderations.py --fit`."""
    given = sentences()
    *vectors, probe = judge.vectors([*(one.text for one in given), heads.PROBE])
    made = fitted(given, vectors, probe)
    kept = msgspec.json.decode(Path(heads.__file__).with_name("heads.json").read_bytes(), type=heads.Kept)
    assert (made.words, made.shift, list(made.heads)) == (kept.words, kept.shift, list(kept.heads))
    rows = heads.numbers(numpy, [one.text for one in given], vectors)
    for category in made.heads:  # another processor rounds int8 products another way
        one, other = (rows @ heads.unpacked(numpy, of.heads[category]) for of in (made, kept))
        assert numpy.corrcoef(one, other)[0, 1] > 0.99, category


def test_nothing_clean_is_flagged(judge: Judge) -> None:
    for text, scored in zip(CLEAN, judge.scores(CLEAN), strict=True):
        assert flagged(scored) == set(), text


def test_each_is_flagged_as_what_it_is(judge: Judge) -> None:
    for (text, category), scored in zip(FLAGGED.items(), judge.scores(list(FLAGGED)), strict=True):
        assert category in flagged(scored), text
        assert list(scored.scores) == list(CATEGORIES)
        assert all(0 <= score <= 1 for score in scored.scores.values())
        for within in CATEGORIES:
            above = within.partition("/")[0]
            assert scored.scores[above] >= scored.scores[within]


def test_one_bad_sentence_in_a_long_text_is_found(judge: Judge) -> None:
    bad, category = next(iter(FLAGGED.items()))
    long = "The meeting has been moved to Thursday at three o'clock. " * 100
    alone, clean, found, empty = judge.scores([bad, long, long + bad + " " + long, " \n"])
    assert flagged(clean) == set()
    assert category in flagged(found)
    assert found.tokens > 2 * clean.tokens > 20 * alone.tokens
    assert (flagged(empty), empty.tokens) == (set(), 0)


def test_a_list_gives_what_each_alone_gives(judge: Judge) -> None:
    texts = list(FLAGGED)
    together = judge.scores(texts * 20)
    for at, text in enumerate(texts):
        (alone,) = judge.scores([text])
        assert alone.scores == pytest.approx(together[at].scores, abs=1e-3)
        assert alone.tokens == together[at].tokens


def test_the_pieces_of_a_text_have_all_its_words() -> None:
    for text in ("One. Two! Three? " * 50, "word " * 300, "x" * 1000, "a\nb\n\nc", "  ", ""):
        pieces = list(windows(text))
        assert "".join("".join(pieces).split()) == "".join(text.split())
        assert all(0 < len(piece) <= SIZE for piece in pieces)


def test_the_sentences_are_of_known_categories_and_not_of_minors() -> None:
    given = sentences()
    assert len({one.text for one in given}) == len(given) > 500
    for one in given:
        assert one.categories <= set(IMPLIED)
        assert "sexual/minors" not in one.categories
