"""Vector stores, and what they find."""

from homeport.dashboard.page import Page

PAGES: list[Page] = []
