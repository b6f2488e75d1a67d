"""English words: how a text falls into them, one and several of a thing, numbers."""

import re
import unicodedata
from typing import NamedTuple

#: A word may have hyphens and apostrophes inside; `4k` and `16:9` are one. A mark of punctuation stands alone, however
#: often it is repeated; every other sign too, as it may be a picture.
_TOKENS = re.compile(r"""\d+(?:[.:x]\d+)*[^\W\d_]*|[^\W_]+(?:['-][^\W_]+)*|([\n!-/:-@[-`{-~])\1*|[^\s\w]""")
_LONGEST_WORD = 40
_SAME = str.maketrans({"’": "'", "‘": "'", "‐": "-", "‑": "-", "–": ",", "—": ",", "_": " ", "…": "."})

_IRREGULAR = {
    "men": "man",
    "women": "woman",
    "children": "child",
    "people": "person",
    "mice": "mouse",
    "geese": "goose",
    "feet": "foot",
    "teeth": "tooth",
    "oxen": "ox",
    "leaves": "leaf",
    "wolves": "wolf",
    "knives": "knife",
    "loaves": "loaf",
    "shelves": "shelf",
    "elves": "elf",
    "thieves": "thief",
    "scarves": "scarf",
    "calves": "calf",
    "hooves": "hoof",
    "dice": "die",
    "cacti": "cactus",
    "octopi": "octopus",
    "fungi": "fungus",
    "potatoes": "potato",
    "tomatoes": "tomato",
    "mangoes": "mango",
    "volcanoes": "volcano",
    "tornadoes": "tornado",
    "heroes": "hero",
    "superheroes": "superhero",
    "mosquitoes": "mosquito",
    "buffaloes": "buffalo",
    "cookies": "cookie",
    "pies": "pie",
    "ties": "tie",
    "selfies": "selfie",
    "zombies": "zombie",
    "genies": "genie",
    "collies": "collie",
    "smoothies": "smoothie",
    "prairies": "prairie",
    "movies": "movie",
    "axes": "axe",
    "shoes": "shoe",
    "horseshoes": "horseshoe",
    "canoes": "canoe",
    "toes": "toe",
    "buses": "bus",
    "lenses": "lens",
    "gases": "gas",
    "caches": "cache",
    "headaches": "headache",
    "moustaches": "moustache",
    "avocados": "avocado",
    "pajamas": "pajamas",
}
_SEVERAL = {
    **{one: several for several, one in _IRREGULAR.items()},
    "cactus": "cacti",
    "octopus": "octopuses",
    "die": "dice",
    "bison": "bison",
}
#: One and several are called the same.
_SAME_FORM = frozenset(
    "sheep fish deer moose bison salmon trout shrimp squid swine aircraft spacecraft series species".split()
)
#: They end in s and are one.
_NOT_SEVERAL = frozenset(
    "bus gas lens cactus octopus walrus grass glass dress cross chess compass princess mattress hibiscus lotus circus "
    "platypus tennis iris rhinoceros hippopotamus canvas atlas christmas asparagus abacus tyrannosaurus brontosaurus "
    "octopus virus lettuce house mouse goose moose horse purse nurse rose nose vase cheese hose axis "
    "chassis pelvis debris paris clematis".split()
)
#: No `a` stands before them.
_UNCOUNTED = frozenset(
    "bread cheese rice milk honey butter bacon meat popcorn spaghetti chocolate salt ice money lightning garlic ginger "
    "fire wood yarn soap sushi tofu corn coffee tea juice wine beer champagne grass furniture lettuce spinach luggage "
    "pasta ramen water snow sand coral broccoli cash".split()
)
#: Before `glasses` that are not for the eyes.
_DRUNK_FROM = frozenset("wine beer cocktail drinking shot champagne martini whisky magnifying water".split())
#: They are several and one.
_ALWAYS_SEVERAL = frozenset(
    "glasses sunglasses eyeglasses spectacles goggles scissors jeans shorts pants trousers headphones "
    "earphones pajamas clothes binoculars pliers fries".split()
)

_UNITS = (
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen "
    "eighteen nineteen"
).split()
_TENS = "twenty thirty forty fifty sixty seventy eighty ninety".split()
_NUMBERS = {
    **{word: at for at, word in enumerate(_UNITS)},
    **{word: 20 + 10 * at for at, word in enumerate(_TENS)},
    **{f"{ten}-{unit}": 20 + 10 * at + by for at, ten in enumerate(_TENS) for by, unit in enumerate(_UNITS[1:10], 1)},
    "hundred": 100,
    "thousand": 1000,
    "million": 10**6,
}
_LARGEST = 10**6


class Token(NamedTuple):
    """text: lower case. shown: as it was written."""

    text: str
    shown: str


def tokens(text: str) -> list[Token]:
    """Of any text, in time that grows with its length alone. A word that nobody would say is cut."""
    text = unicodedata.normalize("NFC", text).translate(_SAME)
    found = []
    for one in _TOKENS.finditer(text):
        shown = one[1] or one[0][:_LONGEST_WORD]
        word = shown.lower()
        if word.endswith("'s"):
            found.append(Token(word[:-2], shown[:-2]))
            found.append(Token("'s", "'s"))
        elif "-" in word[1:] and word not in _NUMBERS:
            found += [Token(part, part) for part in word.split("-")]
        else:
            found.append(Token(word, shown))
    return found


def number(word: str) -> int | None:
    """Of digits or a word for a number."""
    if word.isascii() and word.isdigit():
        return min(int(word[:9]), _LARGEST)
    return _NUMBERS.get(word)


def number_word(count: int) -> str:
    """Up to twelve in letters."""
    return _UNITS[count] if count <= 12 else str(count)


def singular(word: str) -> str:
    """Of one word or several, of which the last is the thing. What is one already stays."""
    first, _, last = word.rpartition(" ")
    if last == "glasses" and first.rpartition(" ")[2] in _DRUNK_FROM:
        return f"{first} glass"
    return f"{first} {_singular(last)}" if first else _singular(last)


def _singular(word: str) -> str:
    if word in _ALWAYS_SEVERAL:
        return word
    if word in _IRREGULAR:
        return _IRREGULAR[word]
    for ending in ("men", "women"):
        if word.endswith(ending) and len(word) > len(ending) + 2:
            return word[:-2] + "an"
    if len(word) < 4 or not word.endswith("s") or word in _NOT_SEVERAL or word.endswith(("ss", "us", "sis")):
        return word
    if word.endswith("ies"):
        return word[:-3] + "y"
    if word.endswith(("ches", "shes", "xes", "sses", "zzes")):
        return word[:-2]
    return word[:-1]


def plural(word: str) -> str:
    """Of one word or several; what is several already stays."""
    first, _, last = word.rpartition(" ")
    for between in (" of ", " with ", " in ", " on "):
        head, found, rest = word.partition(between)
        if found and head:
            return f"{plural(head)}{found}{rest}"
    return f"{first} {_plural(last)}" if first else _plural(last)


def _plural(word: str) -> str:
    if word in _SEVERAL:
        return _SEVERAL[word]
    if word in _SAME_FORM or word in _ALWAYS_SEVERAL or is_plural(word):
        return word
    if word.endswith("man") and word not in ("human", "german", "roman", "talisman", "caiman"):
        return word[:-2] + "en"
    if word.endswith("y") and word[-2:-1] not in "aeiou":
        return word[:-1] + "ies"
    if word.endswith(("s", "x", "z", "ch", "sh")):
        return word + "es"
    return word + "s"


def is_plural(word: str) -> bool:
    """By its form: `sheep` is not."""
    return singular(word) != word


def same_form(word: str) -> bool:
    return word.rpartition(" ")[2] in _SAME_FORM


def indefinite(word: str) -> str:
    """With `a` or `an`; what is several, or is not counted, stays."""
    last = word.rpartition(" ")[2]
    if not word or is_plural(word) or last in _ALWAYS_SEVERAL or last in _UNCOUNTED:
        return word
    first = word.split(" ", 1)[0]
    sounds = first[0] in "aeiou" and not first.startswith(("uni", "eu", "one", "us", "uk", "ufo"))
    return f"{'an' if sounds or first.startswith('hour') or first == 'x' else 'a'} {word}"
