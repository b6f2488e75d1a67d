"""The latest requests, and their receipts."""

from homeport.dashboard.page import Page

PAGES: list[Page] = []
