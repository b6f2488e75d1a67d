"""The pages, as a table. What one shows, and how it asks for it, is in the module of its name."""

from collections.abc import Mapping, Sequence

from homeport.dashboard.page import Page
from homeport.dashboard.pages import (
    assistants,
    audio,
    audit,
    chat,
    conformance,
    embeddings,
    files,
    images,
    jobs,
    limits,
    projects,
    requests,
    status,
    usage,
    vector_stores,
)

#: In the order of the navigation.
_ORDER = (
    *(chat, images, audio, embeddings, assistants),
    *(jobs, files, vector_stores),
    *(usage, limits, requests, status),
    *(projects, audit, conformance),
)
PAGES: Sequence[Page] = [page for module in _ORDER for page in module.PAGES]
#: Where somebody comes first.
FIRST = PAGES[0]
GROUPS: Mapping[str, Sequence[Page]] = {
    group: [page for page in PAGES if page.group == group]
    for group in dict.fromkeys(page.group for page in PAGES)
    if group
}
