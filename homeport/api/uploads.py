"""`/v1/uploads`."""

from collections.abc import Sequence

from homeport.api.multipart import Form
from homeport.api.resources import Asked, Operation
from homeport.control.uploads import Uploads as Rules
from homeport.wire.uploads import (
    AddUploadPartRequest,
    CompleteUploadRequest,
    CreateUploadRequest,
    Upload,
    UploadPart,
)


class Uploads:
    def __init__(self, rules: Rules, form: Form) -> None:
        self._rules = rules
        self._form = form

    def operations(self) -> Sequence[Operation]:
        uploads, upload = "/v1/uploads", "/v1/uploads/{upload_id}"
        scope = "files.write"
        return [
            Operation("POST", uploads, self.create, body=CreateUploadRequest, scope=scope),
            Operation(
                "POST", f"{upload}/parts", self.add_part, body=AddUploadPartRequest, form=self._form, scope=scope
            ),
            Operation("POST", f"{upload}/complete", self.complete, body=CompleteUploadRequest, scope=scope),
            Operation("POST", f"{upload}/cancel", self.cancel, scope=scope),
        ]

    async def create(self, asked: Asked) -> Upload:
        return await self._rules.create(asked.who, asked.body)

    async def add_part(self, asked: Asked) -> UploadPart:
        assert asked.file is not None
        return await self._rules.add_part(asked.who, asked.path["upload_id"], asked.file.staged)

    async def complete(self, asked: Asked) -> Upload:
        return await self._rules.complete(asked.who, asked.path["upload_id"], asked.body)

    async def cancel(self, asked: Asked) -> Upload:
        return await self._rules.cancel(asked.who, asked.path["upload_id"])
