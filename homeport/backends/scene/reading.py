"""A prompt in English, read as a drawing: things, how many, how and where, the ground, the time, the weather.

    marks     what each word or phrase is                                  grammar.py, by lexicon.py and vocabulary.py
    named     things, with what is said before their names                 grammar.py
    Reading   what is said of which thing                                  understanding.py
    Relations what stands where to what                                    relations.py
    described what of that is drawn, and what is told                      describing.py
    Nearest   names that nobody knows, by the nearest known one            nearest.py

It is no parser of English, and does not guess: what it does not understand is in the description, by its words.
"""

import asyncio
from typing import Final

from homeport.backends.scene.describing import described
from homeport.backends.scene.description import Description
from homeport.backends.scene.grammar import marks
from homeport.backends.scene.nearest import Nearest, Vector
from homeport.backends.scene.understanding import Reading
from homeport.backends.scene.vocabulary import Art, Vocabulary

#: Names that are compared with known ones.
_MOST_COMPARED: Final = 16
#: Characters of a prompt that is read in a thread: it would hold up the event loop.
_LONG: Final = 2_000


class Reader:
    """Reads prompts for one vocabulary."""

    def __init__(self, vocabulary: Vocabulary, vector: Vector | None = None) -> None:
        """vector: of one text, by a model of embeddings; without it words are known by themselves alone."""
        self._vocabulary = vocabulary
        self._nearest = Nearest(vocabulary, vector) if vector is not None else None

    def read_words(self, prompt: str, *, edit: bool = False) -> Description:
        """By words alone. Blocks, 0.3 s for the longest prompt."""
        return described(self._read(prompt, edit), {})

    async def read(self, prompt: str, *, edit: bool = False) -> Description:
        """edit: of a picture that is there: `the table` is in it, and is not drawn.

        Never raises for what the prompt says, nor where no vector can be had; takes time in proportion to its length.
        """
        aside = len(prompt) > _LONG
        reading = await asyncio.to_thread(self._read, prompt, edit) if aside else self._read(prompt, edit)
        nearest: dict[str, Art] = {}
        unknown = [one for one in reading.things if one.art is None][:_MOST_COMPARED]
        if self._nearest is not None and unknown:
            nearest = await self._nearest.find({one.word: one.tries for one in unknown})
        return described(reading, nearest)

    def _read(self, prompt: str, edit: bool) -> Reading:
        reading = Reading(self._vocabulary, edit)
        reading.read(marks(prompt, self._vocabulary))
        return reading
