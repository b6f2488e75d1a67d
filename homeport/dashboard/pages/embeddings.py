"""Embeddings, in the playground: how near texts are to each other."""

from homeport.dashboard.page import Page

PAGES: list[Page] = []
