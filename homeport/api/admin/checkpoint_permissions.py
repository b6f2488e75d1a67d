"""`/v1/fine_tuning/checkpoints/{fine_tuned_model_checkpoint}/permissions`: admin keys share fine-tuned models."""

from collections.abc import Sequence

from homeport.api.admin.table import Asked, Operation
from homeport.control.checkpoint_permissions import CheckpointPermissions as Rules
from homeport.wire.fields import Deleted, Page
from homeport.wire.fine_tuning import CheckpointPermission, CreateCheckpointPermissionRequest

PERMISSIONS = "/v1/fine_tuning/checkpoints/{fine_tuned_model_checkpoint:path}/permissions"  # names may have slashes


class CheckpointPermissions:
    def __init__(self, rules: Rules) -> None:
        self._rules = rules

    def operations(self) -> Sequence[Operation]:
        query = ("project_id", "after", "limit", "order")
        return [
            Operation("GET", PERMISSIONS, self.list, query=query),
            Operation("POST", PERMISSIONS, self.create, body=CreateCheckpointPermissionRequest),
            Operation("DELETE", f"{PERMISSIONS}/{{permission_id}}", self.delete),
        ]

    async def list(self, asked: Asked) -> Page[CheckpointPermission]:
        window = asked.window(default=10, descending=True, orders=("ascending", "descending"))
        return await self._rules.list(_checkpoint(asked), window, asked.text("project_id"))

    async def create(self, asked: Asked) -> Page[CheckpointPermission]:
        return await self._rules.create(asked.who, _checkpoint(asked), asked.body)

    async def delete(self, asked: Asked) -> Deleted:
        return await self._rules.delete(asked.who, _checkpoint(asked), asked.path["permission_id"])


def _checkpoint(asked: Asked) -> str:
    return asked.path["fine_tuned_model_checkpoint"]
