"""Do two questions that sound the same ask for the same? A vector hardly sees a "not", a 7 for a 5, or Rome for Paris.

It is no proof that they do; it finds what makes two texts that are near each other differ:

    odd words      numbers, amounts, addresses, names of code and files, abbreviations: all of them, in their order
    numerals       numbers, dates and units that are written as words: in their order
    names          what is written with a capital, in their order
    quotes         what stands between quotation marks, letter by letter
    negations      as many, and the same
    hinges         who, when, where, why, or, if, only: the same ones; and whether it is past, or to come
    persons        I and you, in the order in which both texts name them
    opposites      one text has a word, the other one its opposite
    word order     the words that both have, in the same order: from Rome to Paris is not from Paris to Rome
    one word       all is the same but one word: then that word is the difference

Only what is written in Latin letters can be looked at so, and no code.
"""

import re
from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import NamedTuple

#: What begins and ends a quotation; an apostrophe inside a word is none.
_QUOTED = re.compile(r"\"([^\"]*)\"|“([^”]*)”|„([^“”]*)[“”]|«([^»]*)»|`([^`]*)`|‘([^’]*)’|(?<!\w)'([^']+)'(?!\w)")
_ROUGH = re.compile(r"\S+")
_WORD = re.compile(r"[^\W\d_]+")
_EDGES = ".,;:!?\"'“”„«»‘’()[]…"
_SENTENCE_ENDS = ".!?:"
_CONTRACTION = re.compile(r"(?i)\b([a-z]+)n['’]t\b")
_ENDINGS = ("ings", "ing", "edly", "ed", "es", "s", "ly", "y", "ies", "ied")


def _set(text: str) -> frozenset[str]:
    return frozenset(text.split())


_NEGATIONS = _set(
    """not no never none nothing nobody nowhere neither nor cannot without except unless hardly barely non dont doesnt
    didnt isnt arent wasnt werent wont wouldnt cant couldnt shouldnt aint avoid exclude excluding lack lacks
    nicht kein keine keinen keiner keines keinem nie niemals niemand nichts ohne weder
    ne pas jamais sans aucun aucune rien personne ni nunca nadie nada sin ningún ninguna ninguno tampoco
    não nenhum nenhuma sem nem mai senza nessun nessuno niente né niet geen nooit zonder noch
    inte ej aldrig utan ikke aldri uten aldrig nigdy bez żaden"""
)
_NUMERALS = _set(
    """zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen
    eighteen nineteen twenty thirty forty fifty sixty seventy eighty ninety hundred thousand million billion trillion
    dozen half third quarter twice thrice double triple single both first second fourth fifth sixth seventh eighth ninth
    tenth last next previous once
    january february march april may june july august september october november december
    monday tuesday wednesday thursday friday saturday sunday today tomorrow yesterday tonight now current currently
    latest newest oldest morning noon evening night midnight am pm bc ad
    millisecond second minute hour day week fortnight month quarter year decade century
    millimeter centimeter meter kilometer millimetre centimetre metre kilometre inch foot feet yard mile acre hectare
    milligram gram kilogram ton tonne ounce pound stone liter litre milliliter millilitre gallon pint cup teaspoon
    tablespoon celsius fahrenheit kelvin degree percent percentage bit byte kilobyte megabyte gigabyte terabyte
    dollar euro cent penny yen yuan rupee franc peso krona hertz volt watt ampere joule calorie
    null eins zwei drei vier fünf sechs sieben acht neun zehn elf zwölf hundert tausend erste zweite dritte heute morgen
    gestern deux trois quatre cinq sept huit neuf dix cent mille premier deuxième hier demain aujourd'hui
    uno dos tres cuatro cinco seis siete ocho nueve diez cien mil hoy mañana ayer due quattro cinque sette otto nove
    dieci oggi domani ieri een twee drie vier vijf zes zeven acht negen tien"""
)
_OPPOSITES = [
    frozenset(pair.split("/"))
    for pair in """on/off in/out up/down open/close enable/disable allow/deny allow/forbid allow/block accept/reject
    increase/decrease raise/lower more/less most/least many/few maximum/minimum max/min high/low higher/lower
    highest/lowest large/small larger/smaller largest/smallest big/small bigger/smaller biggest/smallest long/short
    longer/shorter longest/shortest fast/slow faster/slower fastest/slowest early/late earlier/later before/after
    above/below over/under left/right top/bottom front/back inside/outside start/end begin/end start/stop first/last
    add/remove insert/delete create/delete install/uninstall lock/unlock encrypt/decrypt encode/decode import/export
    upload/download send/receive push/pull read/write buy/sell borrow/lend lend/return pay/charge win/lose gain/lose
    pass/fail true/false yes/no right/wrong good/bad better/worse best/worst safe/dangerous legal/illegal
    possible/impossible true/false positive/negative include/exclude with/without always/never all/none all/some
    any/every can/must should/must should/could may/must male/female man/woman men/women boy/girl mother/father
    husband/wife hot/cold warm/cool wet/dry old/new old/young ascending/descending public/private local/remote
    client/server input/output source/target cause/effect advantage/disadvantage benefit/risk pro/con strong/weak
    hard/soft hard/easy easy/difficult heavy/light full/empty deep/shallow wide/narrow rich/poor expensive/cheap
    horizontal/vertical internal/external active/passive alive/dead love/hate war/peace import/export
    for/against to/from into/from""".split()
]
#: Words that a question hangs on.
_HINGES = _set("who whom whose when where why or if only because before after until since while during")
_PAST = _set("was were did had")
_FUTURE = _set("will shall ll")
_PERSONS = {
    **dict.fromkeys(("i", "me", "my", "mine", "we", "us", "our"), "speaker"),
    **dict.fromkeys(("you", "your", "yours"), "listener"),
    **dict.fromkeys(("he", "him", "his"), "he"),
    **dict.fromkeys(("she", "her", "hers"), "she"),
    **dict.fromkeys(("they", "them", "their"), "they"),
}
#: Words of which one stands for all.
_ONE_FOR_ALL = {"summarise": "summary", "summarize": "summary", "name": "list"}
#: Words that only carry a question. Whether one more or fewer of them stands there makes no difference.
_CARRIERS = _set(
    """a an the this that these those of to in on at by for with from into as and or but if is are was were be been
    being am do does did doing done have has had having will would can could shall might it its i me my mine we us our
    you your he she they them their his her there here what which who whom whose when where why how so then than very
    really just please kindly thanks thank hi hello hey dear ok okay tell show give let lets explain describe want need
    like know understand wonder wondering help question answer way ways step steps process get got about some any also
    too s t re ve ll d m"""
)
#: Common words that a sentence may begin with, so that their capital says nothing.
_BEGINNERS = _CARRIERS | _set(
    """summarise summarize list name write make find define should must may compare convert translate calculate compute
    create generate provide suggest recommend discuss identify outline plan prepare draft rewrite rephrase correct fix
    check review analyse analyze classify extract count sort solve prove simplify design build implement add remove set
    use using read say speak talk think consider imagine assume suppose given after before during while because although
    however not no never yes"""
)
_EMPTY = _CARRIERS | _NEGATIONS


class Features(NamedTuple):
    """What is compared of a text. words: with a meaning of their own, as stems, in their order. all_words: in lower
    case. capitals: those that are names wherever they stand."""

    odd: Sequence[str]
    numerals: Sequence[str]
    quoted: Sequence[str]
    negations: Sequence[str]
    hinges: frozenset[str]
    persons: Sequence[str]
    words: Sequence[str]
    all_words: frozenset[str]
    lower: Sequence[str]
    capitals: frozenset[str]


def comparable(text: str) -> bool:
    """Whether this guard can see what matters in it."""
    letters = [char for char in text if char.isalpha()]
    return (
        len(_WORD.findall(text)) >= 3
        and "```" not in text
        and all(char < "\u0250" or "\u1e00" <= char < "\u1f00" for char in letters)
    )


def difference(one: str, other: str) -> str | None:
    """Why two comparable texts do not ask for the same; None when nothing was found. The order does not matter."""
    a, b = features(one), features(other)
    for name in ("odd", "numerals", "quoted", "negations", "hinges"):
        if getattr(a, name) != getattr(b, name):
            return name
    names = a.capitals | b.capitals
    if _those_in(names, a.lower) != _those_in(names, b.lower):
        return "names"
    people = set(a.persons) & set(b.persons)
    if _those_in(people, a.persons) != _those_in(people, b.persons):
        return "persons"
    if any(_opposed(pair, a.all_words, b.all_words) for pair in _OPPOSITES):
        return "opposites"
    if a.words == b.words:
        return None
    common = set(a.words) & set(b.words)
    if _those_in(common, a.words) != _those_in(common, b.words):
        return "word order"
    own, others = (sum(word not in common for word in words) for words in (a.words, b.words))
    return "one word" if own <= 1 and others <= 1 else None


def _those_in(wanted: Iterable[str], words: Sequence[str]) -> list[str]:
    known = frozenset(wanted)
    return [word for word in words if word in known]


def _opposed(pair: frozenset[str], one: frozenset[str], other: frozenset[str]) -> bool:
    return not pair.isdisjoint(one) and not pair.isdisjoint(other) and pair & one != pair & other


@lru_cache(maxsize=1024)
def features(text: str) -> Features:
    plain = _CONTRACTION.sub(_spelled_out, text)
    odd, lower, capitals = _words(plain)
    quoted = ["".join(found) for found in _QUOTED.findall(text)]
    words = [_stem(_ONE_FOR_ALL.get(word, word)) for word in lower if word not in _EMPTY]
    persons = [_PERSONS[word] for word in lower if word in _PERSONS]
    hinges = {word for word in lower if word in _HINGES}
    tenses = {name for name, tense in (("past", _PAST), ("future", _FUTURE)) if not tense.isdisjoint(lower)}
    return Features(
        odd,
        [_singular(word) for word in lower if word in _NUMERALS or _singular(word) in _NUMERALS],
        quoted,
        sorted(word for word in lower if word in _NEGATIONS),
        frozenset(hinges | tenses),
        list(dict.fromkeys(persons)),
        words,
        frozenset(lower),
        lower,
        capitals,
    )


def _spelled_out(found: "re.Match[str]") -> str:
    """`don't` as `do not`; `can't` and `cannot` are two words, too."""
    return {"ca": "can", "wo": "will", "sha": "shall", "ai": "is"}.get(found[1].lower(), found[1]) + " not"


def _words(text: str) -> tuple[list[str], list[str], frozenset[str]]:
    """odd words; all others in lower case; those that are names."""
    odd: list[str] = []
    lower: list[str] = []
    capitals: set[str] = set()
    begins = True
    for found in _ROUGH.finditer(text):
        rough = found[0]
        bare = rough.strip(_EDGES)
        parts = _parts(bare)
        if parts is None:
            odd.append(bare)
        for part in parts or ():
            word = part.lower()
            if word == "cannot":
                lower += ["can", "not"]
                continue
            lower.append(word)
            if part[0].isupper() and (part[1:].isupper() or not begins or word not in _BEGINNERS) and part != "I":
                capitals.add(word)
            begins = False
        begins = rough[-1:] in _SENTENCE_ENDS or (begins and parts is None and not bare)
    return odd, lower, frozenset(capitals)


def _parts(bare: str) -> list[str] | None:
    """The words of what stands between two spaces; None when it is none of a language, but a number, a name of a file.

    Words may be put together with hyphens, and end with an apostrophe and what follows it.
    """
    parts: list[str] = []
    for piece in re.split(r"[-–—/]", bare):
        word = re.split(r"['’]", piece)[0] if re.fullmatch(r"[^\W\d_]+['’][^\W\d_]{0,3}", piece) else piece
        if not word:
            continue
        if not word.isalpha() or not (word.islower() or word.istitle() or word.isupper()):
            return None
        parts.append(word)
    return parts


def _singular(word: str) -> str:
    return word[:-1] if word.endswith("s") and word[:-1] in _NUMERALS else word


def _stem(word: str) -> str:
    """Roughly: what is the same word in another form gets the same one."""
    for ending in _ENDINGS:
        if word.endswith(ending) and len(word) - len(ending) >= 3:
            word = word[: -len(ending)]
            break
    if len(word) > 3 and word[-1] == word[-2]:
        word = word[:-1]
    return word[:-1] if len(word) > 3 and word[-1] in "ei" else word
