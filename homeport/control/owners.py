"""Whose it is: what a project owns is seen by its keys and by nobody else (404, as OpenAI answers)."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Owner:
    """The project that something belongs to, and the key that asks for it."""

    project: str
    key_id: str

    @property
    def id(self) -> str:
        return self.key_id or self.project
