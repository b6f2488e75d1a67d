"""What a file is once it was read: its text, in pages where it has any."""

from typing import Literal, NamedTuple

#: OpenAI's codes of a `last_error`.
Code = Literal["unsupported_file", "invalid_file", "server_error"]

#: Between the texts of two pages.
SEPARATOR = "\n\n"


class Page(NamedTuple):
    """Text that stands on one page, slide or sheet."""

    text: str
    #: From 1; None: files of that kind have none.
    number: int | None


class Document(NamedTuple):
    """A file that was read. Its text is that of its pages, joined by SEPARATOR."""

    #: Media type, as its content tells.
    kind: str
    #: Those with text, in their order: never none at all.
    pages: list[Page]

    @property
    def text(self) -> str:
        return SEPARATOR.join(page.text for page in self.pages)


class UnreadableFile(Exception):
    """No document can be made of it; the message is for its owner, and says what to do about it."""

    def __init__(self, code: Code, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


def unsupported(why: str) -> UnreadableFile:
    """Of a kind that is not read. The first sentence is OpenAI's."""
    return UnreadableFile("unsupported_file", f"The file type is not supported. {why}")


def invalid(why: str) -> UnreadableFile:
    """Of a kind that is read, and yet. The first sentence is OpenAI's."""
    return UnreadableFile("invalid_file", f"The file could not be parsed. {why}")


def too_large(why: str) -> UnreadableFile:
    """More text than anybody may search. The first sentence is OpenAI's."""
    return UnreadableFile("invalid_file", f"The file could not be parsed because it is too large. {why}")
