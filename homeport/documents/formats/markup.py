"""HTML, by Lexbor, which reads what browsers read: its title, then its text by blocks."""

from collections.abc import Iterator

from selectolax.lexbor import LexborHTMLParser, LexborNode

from homeport.documents.document import Page
from homeport.documents.formats.blocks import LINE, PARAGRAPH, Blocks

#: Not what the page says.
_DROPPED = frozenset(
    ("button", "canvas", "iframe", "link", "meta", "nav", "noscript", "object", "script", "style", "svg", "template")
)
_LINES = frozenset(("br", "dd", "dt", "figcaption", "li", "option", "summary", "tr"))
_PARAGRAPHS = frozenset(
    "address article aside blockquote body caption details div dl fieldset figure footer form h1 h2 h3 h4 h5 h6 header"
    " hr main ol p pre section table title ul".split()
)
_VERBATIM = frozenset(("pre", "textarea"))


def pages(text: str) -> Iterator[Page]:
    yield Page(readable(text), None)


def readable(html: str) -> str:
    """Blocks as paragraphs, tables as a line a row."""
    root = LexborHTMLParser(html).root
    blocks = Blocks()
    if root is not None:
        _walk(root, blocks)
    return blocks.text()


def _walk(root: LexborNode, blocks: Blocks) -> None:
    """Without recursion: any depth that the parser takes."""
    written = [blocks]
    cells: list[list[Blocks]] = [[]]
    ahead: list[tuple[LexborNode, bool]] = [(root, False)]
    verbatim = 0
    while ahead:
        node, leaving = ahead.pop()
        if node.is_text_node:
            text = node.text_content or ""
            written[-1].verbatim(text.strip("\n")) if verbatim else written[-1].words(text)
            continue
        tag = node.tag
        if tag is None or tag in _DROPPED or node.is_comment_node:
            continue
        if not leaving:
            ahead.append((node, True))
            ahead.extend((child, False) for child in reversed(list(node.iter(include_text=True))))
            verbatim += tag in _VERBATIM
            written[-1].gap(_gap(tag))
            if tag == "tr":
                cells.append([])
            elif tag in ("td", "th"):
                written.append(Blocks())
        else:
            verbatim -= tag in _VERBATIM
            if tag in ("td", "th"):
                cells[-1].append(written.pop())
            elif tag == "tr":
                written[-1].row(cells.pop())
            written[-1].gap(_gap(tag))


def _gap(tag: str) -> int:
    return PARAGRAPH if tag in _PARAGRAPHS else LINE if tag in _LINES else 0
