"""Bytes of a text, as text: in which charset they are is found out of themselves."""

import codecs
import re

#: OpenAI takes UTF-8, UTF-16 and ASCII; whatever else texts were written in is guessed, by as much of it.
_SAMPLE = 64 * 1024
_MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),  # begins like that of UTF-16
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
#: In a text of Latin letters in UTF-16, so many of the bytes of one half are zero.
_ZEROS = 0.4
#: In UTF-8 that was damaged, or cut off, so many of the characters beyond ASCII still are whole.
_WHOLE = 0.95
#: What western texts have beyond ASCII. Charsets of one byte differ in little else, so that a few letters cannot tell.
_WESTERN = frozenset(
    "àâäåáãæçéèêëíìîïñóòôöõøœúùûüýÿßÀÂÄÅÁÃÆÇÉÈÊËÍÌÎÏÑÓÒÔÖÕØŒÚÙÛÜÝ«»‹›‘’‚“”„–—…•€£¥§°©®™¿¡²³µ·½¼×ªº\xa0"
)
#: Half a word beyond ASCII is of another script.
_WORD_BEYOND = re.compile(rb"[\xc0-\xff]{4}")
#: What is guessed among: an encoding for each script that had its own.
_GUESSES = [
    *("cp1252", "cp1250", "cp1251", "cp1253", "cp1254", "cp1255", "cp1256", "cp1257", "cp874", "koi8_r"),
    *("cp932", "euc_jp", "gb18030", "big5", "cp949"),
]
#: What no text has; more than so many of its characters make something else of it.
_CONTROLS = re.compile(r"[\x00-\x07\x0e-\x1a\x1c-\x1f\x7f-\x84\x86-\x9f]")
_CONTROLS_AT_MOST = 0.005


def text_of(content: bytes, declared: str | None = None) -> str | None:
    """None: it is no text. declared: the charset that it names itself, taken where it is not UTF-8 or UTF-16."""
    for mark, encoding in _MARKS:
        if content.startswith(mark):
            return _if_text(content[len(mark) :].decode(encoding, "replace"))
    if (wide := _wide(content[:_SAMPLE])) is not None:
        return _if_text(content.decode(wide, "replace"))
    try:
        return _if_text(content.decode())
    except UnicodeDecodeError:
        return _if_text(content.decode(_charset(content, declared), "replace"))


def _charset(content: bytes, declared: str | None) -> str:
    if declared is not None and _is_charset(declared):
        return declared
    damaged = content.decode(errors="replace")
    broken = damaged.count("\N{REPLACEMENT CHARACTER}")
    beyond = len(re.findall(r"[^\x00-\x7f]", damaged))
    if beyond - broken >= _WHOLE * beyond:
        return "utf-8"
    western = content.decode("cp1252", "replace")
    if not _WORD_BEYOND.search(content) and _WESTERN.issuperset(re.findall(r"[^\x00-\x7f]", western)):
        return "cp1252"
    return _guess(content[:_SAMPLE]) or "cp1252"


def _guess(sample: bytes) -> str | None:
    from charset_normalizer import from_bytes

    if (line := sample.rfind(b"\n")) > 0:
        sample = sample[:line]  # a character of several bytes is not cut
    best = from_bytes(sample, cp_isolation=_GUESSES, preemptive_behaviour=False, enable_fallback=False).best()
    return best.encoding if best is not None else None


def _wide(sample: bytes) -> str | None:
    """UTF-16 without a mark, where half of the bytes tell it."""
    pairs = len(sample) // 2
    if pairs == 0 or b"\0" not in sample:
        return None
    high, low = sample[0::2].count(0), sample[1::2].count(0)
    if low > _ZEROS * pairs and high == 0:
        return "utf-16-le"
    if high > _ZEROS * pairs and low == 0:
        return "utf-16-be"
    return None


def _is_charset(name: str) -> bool:
    """Of text: Python has codecs for other things, too."""
    try:
        return codecs.lookup(name)._is_text_encoding
    except (LookupError, ValueError):
        return False


def _if_text(text: str) -> str | None:
    sample = text[:_SAMPLE]
    return text if len(_CONTROLS.findall(sample)) <= _CONTROLS_AT_MOST * len(sample) else None
