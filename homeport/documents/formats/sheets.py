"""Excel's .xlsx: a page a sheet, a line a row, with the values that formulas had when it was saved."""

import datetime
import warnings
from collections.abc import Iterator
from typing import BinaryIO

import openpyxl
from openpyxl.chartsheet import Chartsheet

from homeport.documents.document import Page
from homeport.documents.formats.blocks import row
from homeport.documents.formats.records import with_header


def pages(file: BinaryIO) -> Iterator[Page]:
    """Sheets that have cells, hidden ones too, each under its name."""
    warnings.simplefilter("ignore")  # of styles and extensions that openpyxl leaves out
    book = openpyxl.load_workbook(file, read_only=True, data_only=True, keep_links=False)
    for number, sheet in enumerate(book, 1):
        if isinstance(sheet, Chartsheet):
            continue
        sheet.reset_dimensions()  # what the file says of them may be wrong
        lines = (row(map(_written, cells)) for cells in sheet.iter_rows(values_only=True))
        if text := with_header(line for line in lines if line):
            yield Page(f"{sheet.title}\n\n{text}", number)


def _written(value: object) -> str:
    match value:
        case None:
            return ""
        case bool():
            return str(value).upper()
        case datetime.datetime(hour=0, minute=0, second=0, microsecond=0):
            return value.date().isoformat()
        case datetime.datetime():
            return value.isoformat(" ", "seconds")
        case datetime.date() | datetime.time():
            return value.isoformat()
        case float():
            return f"{value:.15g}"  # as many digits as Excel has
        case _:
            return str(value)
