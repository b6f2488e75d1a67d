"""Usage and costs over time."""

from homeport.dashboard.page import Page

PAGES: list[Page] = []
