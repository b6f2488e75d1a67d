"""What goes on outlasting a request: batches, fine-tuning, ingestion, runs."""

from homeport.dashboard.page import Page

PAGES: list[Page] = []
