"""Speech and transcription, in the playground."""

from homeport.dashboard.page import Page

PAGES: list[Page] = []
