"""Projects: their keys, limits, budgets and models."""

from homeport.dashboard.page import Page

PAGES: list[Page] = []
