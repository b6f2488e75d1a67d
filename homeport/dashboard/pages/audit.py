"""The audit log."""

from homeport.dashboard.page import Page

PAGES: list[Page] = []
