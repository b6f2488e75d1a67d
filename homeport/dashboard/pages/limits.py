"""How full each rate limit and each budget is."""

from homeport.dashboard.page import Page

PAGES: list[Page] = []
