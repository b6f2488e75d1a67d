"""What is supported, operation by operation."""

from homeport.dashboard.page import Page

PAGES: list[Page] = []
