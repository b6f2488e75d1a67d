"""Which requests the cache is for, by the settings."""

from collections.abc import Iterable
from fnmatch import fnmatchcase

from homeport.settings import Cache as Settings


class Policy:
    """by_request: a request may ask for the cache, too."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self.by_request = settings.by_request
        #: Some requests use it without asking.
        self.unasked = bool(settings.enabled or settings.models or settings.projects)

    def uses(self, project: str, model: str) -> bool:
        """Without being asked. model: the name in the request."""
        settings = self._settings
        return settings.enabled or _fits(project, settings.projects) or _fits(model, settings.models)

    def ttl(self, model: str) -> float:
        """Seconds: of the first pattern of `ttl_by_model` that fits."""
        for pattern, seconds in self._settings.ttl_by_model.items():
            if fnmatchcase(model, pattern):
                return seconds
        return self._settings.ttl_seconds


def _fits(name: str, patterns: Iterable[str]) -> bool:
    return any(fnmatchcase(name, pattern) for pattern in patterns)
