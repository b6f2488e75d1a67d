"""Containers. Source: ContainerResource, CreateContainerBody, ContainerFileResource, CreateContainerFileBody,
ContainerListResource, ContainerFileListResource."""

from typing import Annotated, Any, Literal, TypeAlias

from msgspec import UNSET, Meta, Struct, UnsetType

from homeport.errors import InvalidRequest
from homeport.wire.fields import Identifier, Request

#: What code sees the files of its container in.
FOLDER = "/mnt/data/"
#: Minutes that a container lives unused, unless it is said otherwise, and at most. OpenAI says 20.
LIFE, LONGEST_LIFE = 20, 1440
#: Files that may be named at once (AutoCodeInterpreterToolParam).
MOST_FILE_IDS = 50

MemoryLimit: TypeAlias = Literal["1g", "4g", "16g", "64g"]


class ExpiresAfter(Request):
    anchor: Literal["last_active_at"]
    minutes: Annotated[int, Meta(ge=1, le=LONGEST_LIFE)]


class Disabled(Request, tag_field="type", tag="disabled"):
    pass


class Allowlist(Request, tag_field="type", tag="allowlist"):
    """Refused: no code here reaches a network."""

    allowed_domains: list[str]
    domain_secrets: list[Any] | None = None


NetworkPolicy: TypeAlias = Disabled | Allowlist


class CreateContainerRequest(Request):
    name: Annotated[str, Meta(min_length=1, max_length=256, pattern=r"^[^\x00]*$")]
    file_ids: Annotated[list[Identifier], Meta(max_length=MOST_FILE_IDS)] | None = None
    expires_after: ExpiresAfter | None = None
    skills: list[Any] | None = None
    memory_limit: MemoryLimit | None = None
    network_policy: NetworkPolicy | None = None

    def __post_init__(self) -> None:
        """Raises InvalidRequest."""
        if self.skills:
            raise InvalidRequest(
                "Containers have no skills here. Leave 'skills' out.", param="skills", code="unsupported_parameter"
            )
        check_network(self.network_policy, "network_policy")


class CreateContainerFileRequest(Request):
    """The fields beside the file, or in its place."""

    file_id: str | None = None


class NoNetwork(Struct, frozen=True):
    type: Literal["disabled"] = "disabled"


class Life(Struct):
    minutes: int
    anchor: Literal["last_active_at"] = "last_active_at"


class Container(Struct):
    """expired: its files are gone. memory_limit: where what this machine gives is one of OpenAI's."""

    id: str
    name: str
    created_at: int
    last_active_at: int
    status: Literal["running", "expired"]
    expires_after: Life
    memory_limit: MemoryLimit | UnsetType = UNSET
    network_policy: NoNetwork = NoNetwork()
    object: Literal["container"] = "container"


class ContainerFile(Struct):
    """path: as code sees it. assistant: code has made it."""

    id: str
    container_id: str
    created_at: int
    bytes: int
    path: str
    source: Literal["user", "assistant"]
    object: Literal["container.file"] = "container.file"


def check_network(policy: NetworkPolicy | None, param: str) -> None:
    """Raises InvalidRequest."""
    if isinstance(policy, Allowlist):
        raise InvalidRequest(
            "Code reaches no network here, whatever its container is. Leave "
            f'\'{param}\' out, or write {{"type": "disabled"}}.',
            param=param,
            code="unsupported_parameter",
        )
