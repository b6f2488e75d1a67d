"""The thirteen categories of a moderation, in the order of the description's examples."""

from collections.abc import Mapping

#: category -> those that are true wherever it is.
IMPLIED: Mapping[str, tuple[str, ...]] = {
    "harassment": (),
    "harassment/threatening": ("harassment", "violence"),
    "sexual": (),
    "hate": (),
    "hate/threatening": ("hate", "violence"),
    "illicit": (),
    "illicit/violent": ("illicit",),
    "self-harm/intent": ("self-harm",),
    "self-harm/instructions": ("self-harm",),
    "self-harm": (),
    "sexual/minors": ("sexual",),
    "violence": (),
    "violence/graphic": ("violence",),
}
CATEGORIES = tuple(IMPLIED)
