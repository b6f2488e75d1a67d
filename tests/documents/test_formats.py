"""What is kept of each kind, of files that its own programs and libraries write."""

import datetime
import io
import json
from email.message import EmailMessage
from pathlib import Path

import docx
import openpyxl
import pptx
import pytest
from pptx.util import Inches

from homeport.documents.document import Page, UnreadableFile
from tests.documents import made
from tests.documents.conftest import Read


def test_a_pdf_has_pages_with_their_numbers_and_those_without_text_are_left_out(read: Read) -> None:
    document = read(made.pdf([["First page"], [], ["Third page", "(second line)"]]), "report.pdf")
    assert document.kind == "application/pdf"
    assert document.pages == [Page("First page", 1), Page("Third page\n(second line)", 3)]
    assert document.text == "First page\n\nThird page\n(second line)"


def test_a_word_of_a_pdf_that_goes_on_in_the_next_line_is_one_word(read: Read) -> None:
    text = read(made.pdf([["An exam-", "ple of words, 10-", "20 of them - or so-"]])).text
    assert text == "An example of words, 10-\n20 of them - or so-"


def test_a_pdf_in_other_scripts(read: Read) -> None:
    """Right-to-left text is drawn from left to right, and comes out as it is read."""
    text = read(made.pdf([["你好，世界", "Привет, мир", "שלום עולם"[::-1], "ﬁne eﬀort"]])).text
    assert text == "你好，世界\nПривет, мир\nשלום עולם\nfine effort"


def test_a_pdf_with_a_page_that_is_damaged_keeps_the_others(read: Read) -> None:
    content = made.pdf([["First"], ["Second"]])
    broken = content.replace(b"/Type/Page/", b"/Type/Nope/", 1)
    assert [page.number for page in read(broken).pages][-1] == 2


@pytest.mark.parametrize(
    ("content", "code", "message"),
    [
        (made.pdf([["secret"]], password="geheim"), "invalid_file", "encrypted"),
        (made.pdf_of([b"0 0 100 100 re f"]), "unsupported_file", "pictures without text"),
        (b"%PDF-1.7\nnothing", "invalid_file", "no PDF that can be opened"),
    ],
)
def test_pdfs_that_cannot_be_read(read: Read, content: bytes, code: str, message: str) -> None:
    with pytest.raises(UnreadableFile, match=message) as refused:
        read(content, "a.pdf")
    assert refused.value.code == code


def test_a_pdf_that_is_encrypted_without_a_password_is_read(read: Read) -> None:
    assert read(made.pdf([["for everybody"]], password="")).text == "for everybody"


def test_a_word_document_in_its_order(read: Read) -> None:
    written = docx.Document()
    written.add_heading("Annual report", 1)
    written.add_paragraph("It was a good year.")
    table = written.add_table(2, 3)
    for row, cells in enumerate((("Region", "", "Sales"), ("North", "x", "12"))):
        for column, cell in enumerate(cells):
            table.cell(row, column).text = cell
    written.add_paragraph("One", style="List Bullet")
    written.add_paragraph("After\tthe table,\nin two lines.")
    written.sections[0].header.paragraphs[0].text = "Confidential"
    document = read(_saved(written), "report.docx")
    assert document.kind == "application/vnd.openxmlformats-officedocument.wordprocessingml.document"
    assert document.pages == [
        Page(
            "Annual report\n\nIt was a good year.\n\nRegion |  | Sales\nNorth | x | 12\n\nOne\n\nAfter\tthe table,\n"
            "in two lines.",
            None,
        )
    ]


def test_what_word_writes_beside_plain_paragraphs(read: Read) -> None:
    """Fields, content controls, tracked changes, text boxes, links: all that is seen, and once."""
    run = "<w:r><w:t xml:space='preserve'>{}</w:t></w:r>".format
    choice = 'xmlns:mc="http://schemas.openxmlformats.org/markup-compatibility/2006"'
    box = f"<w:txbxContent><w:p>{run('in a box')}</w:p></w:txbxContent>"
    body = (
        f"<w:sdt><w:sdtContent><w:p>{run('controlled')}</w:p></w:sdtContent></w:sdt>"
        f"<w:p><w:pPr><w:tabs><w:tab/></w:tabs></w:pPr>{run('was ')}<w:ins>{run('inserted')}</w:ins>"
        "<w:del><w:r><w:delText>deleted</w:delText></w:r></w:del><w:r><w:instrText>PAGE</w:instrText></w:r></w:p>"
        f"<w:p><w:r><mc:AlternateContent {choice}><mc:Choice>{box}</mc:Choice><mc:Fallback>{box}</mc:Fallback>"
        f"</mc:AlternateContent></w:r><w:hyperlink>{run('a link')}</w:hyperlink></w:p>"
        f"<w:tbl><w:tr><w:sdt><w:sdtContent><w:tc><w:p>{run('a')}</w:p><w:p>{run('b')}</w:p></w:tc></w:sdtContent>"
        f"</w:sdt><w:tc><w:p>{run('c')}</w:p></w:tc></w:tr></w:tbl>"
    )
    assert read(made.docx(body)).text == "controlled\n\nwas inserted\n\nin a box\n\na link\n\na b | c"


def test_slides_with_their_tables_groups_and_notes(read: Read) -> None:
    deck = pptx.Presentation()
    first = deck.slides.add_slide(deck.slide_layouts[1])
    assert first.shapes.title is not None
    first.shapes.title.text = "Plans"
    first.placeholders[1].text = "Grow\nShrink"
    notes = first.notes_slide.notes_text_frame
    assert notes is not None
    notes.text = "Speak slowly."
    deck.slides.add_slide(deck.slide_layouts[6])
    third = deck.slides.add_slide(deck.slide_layouts[6])
    table = third.shapes.add_table(1, 2, Inches(1), Inches(1), Inches(2), Inches(1)).table
    table.cell(0, 0).text, table.cell(0, 1).text = "left", "right"
    group = third.shapes.add_group_shape()
    group.shapes.add_textbox(0, 0, Inches(1), Inches(1)).text_frame.text = "in a group"
    assert read(_saved(deck), "deck.pptx").pages == [
        Page("Plans\n\nGrow\nShrink\n\nSpeak slowly.", 1),
        Page("left | right\n\nin a group", 3),
    ]


def test_sheets_with_dates_numbers_and_what_formulas_gave(read: Read) -> None:
    book = openpyxl.Workbook()
    sheet = book.active
    sheet.title = "Sales"
    sheet.append(["day", "amount", None, "paid"])
    sheet.append([datetime.date(2026, 3, 1), 0.1 + 0.2, None, True])
    sheet.append([datetime.datetime.fromisoformat("2026-03-01T12:30"), 12, None, "=B2*2"])
    book.create_sheet("Empty")
    book.create_sheet("More")["B3"] = "far away"
    pages = read(_saved(book), "sales.xlsx").pages
    assert pages == [
        Page("Sales\n\nday | amount |  | paid\n2026-03-01 | 0.3 |  | TRUE\n2026-03-01 12:30:00 | 12", 1),
        Page("More\n\n | far away", 3),
    ]


def test_long_tables_have_their_header_again(read: Read) -> None:
    rows = "".join(f'{number},"name of\n{number}"\n' for number in range(500))
    text = read(f"id,name\n{rows}".encode(), "people.csv").text
    assert text.startswith('id,name\n0,"name of\n0"\n1,')
    parts = text.split("\n\nid,name\n")
    assert len(parts) > 4
    assert max(map(len, parts)) < 1600
    assert "\n".join(parts) == f"id,name\n{rows}".rstrip("\n")


def test_a_table_without_a_header_stays_as_it_is(read: Read) -> None:
    rows = "\n".join(f"{number},{number * 2}" for number in range(2000))
    assert read(rows.encode(), "numbers.csv").text == rows


def test_html_by_blocks(read: Read) -> None:
    page = """<!DOCTYPE html><html><head><title>The &eacute;lan</title><style>p {}</style><script>let x</script></head>
    <body><nav>Home | About</nav><h1>Big   <b>news</b></h1><p>One<br>two&nbsp;three <i>f</i>our</p>
    <table><tr><th>Name<th>Age</tr><tr><td><p>Ann</p><td>7</table><ul><li>a<li>b</ul><pre>
  kept
    as is</pre><!-- not seen --><noscript>please switch on</noscript></body></html>"""
    document = read(page.encode(), "page")
    assert document.kind == "text/html"
    assert document.text == (
        "The élan\n\nBig news\n\nOne\ntwo three four\n\nName | Age\nAnn | 7\n\na\nb\n\n  kept\n    as is"
    )


def test_html_whose_tables_are_layout(read: Read) -> None:
    page = "<table><tr><td>Menu</td><td><p>Text</p><table><tr><td>1</td><td>2</td></tr></table></td></tr></table>"
    assert read(page.encode(), "page.html").text == "Menu\n\nText\n\n1 | 2"


def test_html_that_says_its_charset(read: Read) -> None:
    page = '<html><head><meta http-equiv="Content-Type" content="text/html; charset=koi8-r"></head><p>да'
    assert read(page.encode("koi8-r"), "page.html").text == "да"


def test_json_is_text_whose_letters_can_be_found(read: Read) -> None:
    written = json.dumps({"名": "值 😀", "line": 'a\n"b" \\u4e00 \u200b'})
    document = read(written.encode(), "a.json")
    assert document.kind == "application/json"
    assert json.loads(document.text) == json.loads(written)
    assert "名" in document.text
    assert "😀" in document.text
    assert r"\\u4e00" in document.text


def test_a_notebook_has_its_cells_and_what_they_printed(read: Read) -> None:
    notebook = {
        "nbformat": 4,
        "cells": [
            {"cell_type": "markdown", "source": ["# Title\n", "text"]},
            {
                "cell_type": "code",
                "source": "print(1)",
                "outputs": [{"text": ["1\n"]}, {"data": {"image/png": "xyz", "text/plain": "<Figure>"}}],
            },
        ],
    }
    document = read(json.dumps(notebook).encode(), "a.ipynb")
    assert document.kind == "application/x-ipynb+json"
    assert document.text == "# Title\ntext\n\nprint(1)\n\n1\n\n<Figure>"


def test_a_message(read: Read) -> None:
    message = EmailMessage()
    message["From"], message["To"], message["Subject"] = "Ann <ann@example.com>", "bob@example.com", "Größe"
    message.set_content("Dear Bob,\n\nhere it is: é.\n")
    message.add_alternative("<p>Dear Bob</p>", subtype="html")
    message.add_attachment(b"PK..", maintype="application", subtype="zip", filename="it.zip")
    document = read(bytes(message), "a.eml")
    assert document.kind == "message/rfc822"
    assert document.text == (
        "From: Ann <ann@example.com>\nTo: bob@example.com\nSubject: Größe\nAttachment: it.zip\n\n"
        "Dear Bob,\n\nhere it is: é."
    )


def test_a_message_in_html_and_another_charset(read: Read) -> None:
    raw = "From: a@b.c\r\nDate: today\r\nSubject: x\r\nContent-Type: text/html; charset=koi8-r\r\n\r\n<p>да</p>"
    assert read(raw.encode("koi8-r"), "message").text == "From: a@b.c\nDate: today\nSubject: x\n\nда"


def test_a_book_chapter_by_chapter(read: Read) -> None:
    parts = {
        "mimetype": "application/epub+zip",
        "META-INF/container.xml": '<container xmlns="urn:oasis:names:tc:opendocument:xmlns:container"><rootfiles>'
        '<rootfile full-path="OPS/book.opf"/></rootfiles></container>',
        "OPS/book.opf": '<package xmlns="http://www.idpf.org/2007/opf"><manifest><item id="b" href="b%20c.xhtml"/>'
        '<item id="a" href="text/a.xhtml"/></manifest><spine><itemref idref="a"/><itemref idref="b"/></spine>'
        "</package>",
        "OPS/text/a.xhtml": "<!DOCTYPE html><html><body><h1>One</h1><p>It began.</p></body></html>",
        "OPS/b c.xhtml": "<html><body><p>It ended.</p></body></html>",
    }
    document = read(made.zipped(parts), "a.epub")
    assert document.kind == "application/epub+zip"
    assert document.pages == [Page("One\n\nIt began.", None), Page("It ended.", None)]


_OPEN = (
    'xmlns:office="urn:oasis:names:tc:opendocument:xmlns:office:1.0" '
    'xmlns:text="urn:oasis:names:tc:opendocument:xmlns:text:1.0" '
    'xmlns:table="urn:oasis:names:tc:opendocument:xmlns:table:1.0" '
    'xmlns:draw="urn:oasis:names:tc:opendocument:xmlns:drawing:1.0"'
)


@pytest.mark.parametrize(
    ("kind", "body", "pages"),
    [
        (
            "text",
            "<office:text><text:h>Title</text:h><text:p>One<text:s text:c='2'/>two<text:line-break/>three"
            "<office:annotation><text:p>no</text:p></office:annotation></text:p><table:table><table:table-row>"
            "<table:table-cell><text:p>a</text:p></table:table-cell><table:table-cell><text:p>b</text:p>"
            "</table:table-cell></table:table-row></table:table></office:text>",
            [Page("Title\n\nOne  two\nthree\n\na | b", None)],
        ),
        (
            "presentation",
            "<office:presentation><draw:page/><draw:page><draw:frame><text:p>Slide</text:p></draw:frame>"
            "</draw:page></office:presentation>",
            [Page("Slide", 2)],
        ),
        (
            "spreadsheet",
            "<office:spreadsheet><table:table table:name='Sums'><table:table-row table:number-rows-repeated='2'>"
            "<table:table-cell table:number-columns-repeated='2'><text:p>1</text:p></table:table-cell>"
            "<table:table-cell table:number-columns-repeated='16000'/></table:table-row>"
            "<table:table-row table:number-rows-repeated='1048000'><table:table-cell/></table:table-row>"
            "</table:table></office:spreadsheet>",
            [Page("Sums\n\n1 | 1\n1 | 1", 1)],
        ),
    ],
)
def test_open_documents(read: Read, kind: str, body: str, pages: list[Page]) -> None:
    content = f"<office:document-content {_OPEN}><office:body>{body}</office:body></office:document-content>"
    media = f"application/vnd.oasis.opendocument.{kind}"
    document = read(made.zipped({"mimetype": media, "content.xml": content}))
    assert document.kind == media
    assert document.pages == pages


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("a.py", "text/x-python"),
        ("a.c", "text/x-c"),
        ("a.CPP", "text/x-c++"),
        ("a.md", "text/markdown"),
        ("a.tex", "text/x-tex"),
        ("a.ts", "application/typescript"),
        ("a.unheard-of", "text/plain"),
        ("none", "text/plain"),
    ],
)
def test_text_stays_as_it_is(read: Read, name: str, kind: str) -> None:
    text = "# Title\n\n    indented\n\tline | x = '<html>'\n\n\n\nend"
    document = read(text.replace("\n", "\r\n").encode(), name)
    assert document.kind == kind
    assert document.pages == [Page(text, None)]


def test_what_no_database_takes_is_dropped_from_a_text(read: Read) -> None:
    assert read(("x" * 400 + "a\x00b\x1fc\ufeffd").encode()).text == "x" * 400 + "abcd"


def test_documents_that_other_packages_ship(read: Read) -> None:
    template = Path(pptx.__file__).parent / "templates" / "default.pptx"
    with pytest.raises(UnreadableFile, match="no text in it"):
        read(template.read_bytes(), "default.pptx")


def _saved(written: object) -> bytes:
    made = io.BytesIO()
    written.save(made)  # type: ignore[attr-defined]
    return made.getvalue()
