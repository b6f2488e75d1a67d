"""How the server is."""

from homeport.dashboard.page import Page

PAGES: list[Page] = []
