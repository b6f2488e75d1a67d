"""Containers and their files through the official SDK, on each kind of database."""

import hashlib
import os
from collections.abc import Sequence
from typing import Any

import openai
import pytest
import sqlalchemy as sa

from homeport import clock
from homeport.store.tables import blobs, container_files, containers
from tests import openapi
from tests.api import raw
from tests.api.forms import FILE, part, post, refused
from tests.api.owners import new_key, new_project
from tests.server import Running

CONTAINERS = "/v1/containers"


def upload(client: openai.OpenAI, content: bytes = b"a,b\n1,2\n", name: str = "data.csv") -> str:
    return client.files.create(file=(name, content), purpose="user_data").id


def paths(client: openai.OpenAI, container: str) -> Sequence[str]:
    return [one.path for one in client.containers.files.list(container, order="asc").data]


def refusal(call: Any, *args: Any, **more: Any) -> dict[str, Any]:
    with pytest.raises(openai.APIStatusError) as caught:
        call(*args, **more)
    error: Any = caught.value.body
    return {"status": caught.value.status_code, "param": error["param"], "code": error["code"]}


def test_a_container_is_made_and_seen(mine: openai.OpenAI) -> None:
    made = mine.containers.create(name="Numbers")
    assert made.id.startswith("cntr_")
    assert (made.object, made.name, made.status, made.memory_limit) == ("container", "Numbers", "running", "1g")
    assert made.expires_after is not None
    assert (made.expires_after.anchor, made.expires_after.minutes) == ("last_active_at", 20)
    assert mine.containers.retrieve(made.id).model_dump() == made.model_dump()
    assert made.id in [one.id for one in mine.containers.list()]
    named = mine.containers.create(name="another", expires_after={"anchor": "last_active_at", "minutes": 5})
    assert [one.id for one in mine.containers.list(name="another")] == [named.id]
    mine.containers.delete(made.id)
    assert refusal(mine.containers.retrieve, made.id) == {"status": 404, "param": "container_id", "code": None}
    assert refusal(mine.containers.delete, made.id)["status"] == 404


def test_its_objects_are_the_descriptions(owning: Running, mine: openai.OpenAI) -> None:
    made = raw.ask(owning, "POST", CONTAINERS, {"name": "n", "file_ids": [upload(mine)]}).json
    openapi.validate("ContainerResource", made)
    openapi.validate("ContainerListResource", raw.ask(owning, "GET", CONTAINERS).json)
    files = raw.ask(owning, "GET", f"{CONTAINERS}/{made['id']}/files").json
    openapi.validate("ContainerFileListResource", files)
    openapi.validate("ContainerFileResource", files["data"][0])
    gone = raw.ask(owning, "DELETE", f"{CONTAINERS}/{made['id']}/files/{files['data'][0]['id']}").json
    assert gone == {"object": "container.file.deleted", "id": files["data"][0]["id"], "deleted": True}
    gone = raw.ask(owning, "DELETE", f"{CONTAINERS}/{made['id']}").json
    assert gone == {"object": "container.deleted", "id": made["id"], "deleted": True}


def test_files_come_and_go(owning: Running, mine: openai.OpenAI) -> None:
    file_id = upload(mine, b"of the project")
    container = mine.containers.create(name="files", file_ids=[file_id, file_id]).id
    sent = mine.containers.files.create(container, file=("data.csv", b"of a form"))
    assert (sent.bytes, sent.path, sent.source, sent.container_id) == (9, "/mnt/data/data-2.csv", "user", container)
    by_id = mine.containers.files.create(container, file_id=upload(mine, b"by its id", "../b.txt"))
    assert by_id.path == "/mnt/data/b.txt"
    assert paths(mine, container) == ["/mnt/data/data.csv", "/mnt/data/data-2.csv", "/mnt/data/b.txt"]
    first = mine.containers.files.list(container, order="asc").data[0]
    assert mine.containers.files.create(container, file_id=file_id).id == first.id  # it is there
    mine.files.delete(file_id)
    content = mine.containers.files.content.retrieve(first.id, container_id=container)
    assert content.read() == b"of the project"
    some = raw.ask(owning, "GET", f"{CONTAINERS}/{container}/files/{sent.id}/content", headers={"Range": "bytes=5-8"})
    assert (some.status, some.body) == (206, b"form")
    assert mine.containers.files.retrieve(sent.id, container_id=container).model_dump() == sent.model_dump()
    mine.containers.files.delete(sent.id, container_id=container)
    assert paths(mine, container) == ["/mnt/data/data.csv", "/mnt/data/b.txt"]
    assert refusal(mine.containers.files.retrieve, sent.id, container_id=container)["param"] == "file_id"
    assert refusal(mine.containers.files.delete, sent.id, container_id=container)["status"] == 404


def test_a_form_that_names_a_file(owning: Running, mine: openai.OpenAI) -> None:
    container = mine.containers.create(name="forms").id
    path = f"{CONTAINERS}/{container}/files"
    file_id = part('name="file_id"', upload(mine).encode())
    assert post(owning, [file_id], path).json["path"] == "/mnt/data/data.csv"
    refused(post(owning, [file_id, FILE], path), param="file_id", code="invalid_value")
    for nothing in (post(owning, [], path), raw.ask(owning, "POST", path, {})):
        refused(nothing, param="file_id", code="missing_required_parameter")
    refused(raw.ask(owning, "POST", path, {"file_id": "file-none"}), 404, param="file_id")


@pytest.mark.parametrize(
    ("asked", "param"),
    [
        ({}, "name"),
        ({"name": "n", "memory_limit": "64g"}, "memory_limit"),
        ({"name": "n", "skills": [{"type": "skill_reference", "skill_id": "s"}]}, "skills"),
        ({"name": "n", "network_policy": {"type": "allowlist", "allowed_domains": ["a.b"]}}, "network_policy"),
        ({"name": "n", "expires_after": {"anchor": "last_active_at", "minutes": 0}}, "expires_after.minutes"),
        ({"name": "n", "file_ids": ["file-none"]}, "file_ids"),
        ({"name": "n", "more": 1}, None),
    ],
)
def test_what_cannot_be_asked(owning: Running, asked: dict[str, Any], param: str | None) -> None:
    answer = raw.ask(owning, "POST", CONTAINERS, asked)
    assert answer.status == (404 if param == "file_ids" else 400)
    assert answer.error["param"] == param


def test_what_may_be_asked_without_an_effect(mine: openai.OpenAI) -> None:
    made = mine.containers.create(name="n", memory_limit="1g", skills=[], network_policy={"type": "disabled"})
    assert made.network_policy is not None
    assert made.network_policy.type == "disabled"


def test_nobody_elses(mine: openai.OpenAI, theirs: openai.OpenAI) -> None:
    container = mine.containers.create(name="private", file_ids=[upload(mine)]).id
    file = mine.containers.files.list(container).data[0].id
    for call in (theirs.containers.retrieve, theirs.containers.delete, theirs.containers.files.list):
        assert refusal(call, container)["status"] == 404
    for read in (theirs.containers.files.retrieve, theirs.containers.files.content.retrieve):
        assert refusal(read, file, container_id=container)["status"] == 404
    assert refusal(theirs.containers.create, name="n", file_ids=[upload(mine)])["status"] == 404
    assert container not in [one.id for one in theirs.containers.list()]


def test_scopes(owning: Running) -> None:
    key = new_key(owning, new_project(owning, "readers"), scopes=["api.responses.read"])
    assert raw.ask(owning, "GET", CONTAINERS, key=key).status == 200
    assert raw.ask(owning, "POST", CONTAINERS, {"name": "n"}, key=key).status == 403


def test_pages(mine: openai.OpenAI) -> None:
    container = mine.containers.create(name="pages").id
    for number in range(3):
        mine.containers.files.create(container, file=(f"{number}.txt", b"x"))
    assert len(paths(mine, container)) == 3
    assert [one.path[-5:] for one in mine.containers.files.list(container, limit=2)] == ["2.txt", "1.txt", "0.txt"]


def test_the_unused_expires(owning: Running, mine: openai.OpenAI) -> None:
    content = os.urandom(1234)
    container = mine.containers.create(name="unused").id
    file = mine.containers.files.create(container, file=("a.txt", content)).id
    unused(owning, container, minutes=20)
    assert mine.containers.retrieve(container).status == "expired"
    assert paths(mine, container) == []
    assert refusal(mine.containers.files.retrieve, file, container_id=container)["status"] == 404
    expired = {"status": 400, "param": "container_id", "code": "container_expired"}
    assert refusal(mine.containers.files.create, container, file=("b.txt", b"x")) == expired
    assert refusal(mine.containers.files.delete, file, container_id=container) == expired
    owning.begin(owning.app.durable._assisting._containers.expire()).result(60)
    assert count(owning, container_files, container_files.c.id == file) == 0
    assert count(owning, blobs, blobs.c.digest == hashlib.sha256(content).hexdigest()) == 0
    assert mine.containers.retrieve(container).status == "expired"
    unused(owning, container, minutes=20 + 30 * 24 * 60)
    owning.begin(owning.app.durable._assisting._containers.expire()).result(60)
    assert refusal(mine.containers.retrieve, container)["status"] == 404


def test_using_it_keeps_it(owning: Running, mine: openai.OpenAI) -> None:
    container = mine.containers.create(name="used").id
    unused(owning, container, minutes=19)
    mine.containers.files.create(container, file=("a.txt", b"x"))
    last = mine.containers.retrieve(container).last_active_at
    assert last is not None
    assert last > clock.now() - 10 * 60


def test_a_container_is_not_without_end(owning: Running, mine: openai.OpenAI) -> None:
    container = mine.containers.create(name="full").id
    rules = owning.app.durable._assisting._containers
    most, rules._most_bytes = rules._most_bytes, 10
    try:
        mine.containers.files.create(container, file=("a.txt", b"12345678"))
        full = {"status": 400, "param": None, "code": "container_full"}
        assert refusal(mine.containers.files.create, container, file=("b.txt", b"123")) == full
    finally:
        rules._most_bytes = most
    assert len(paths(mine, container)) == 1


def count(server: Running, table: sa.Table, *which: Any) -> int:
    async def read() -> int:
        async with server.app.books.database.read() as connection:
            return await connection.scalar(sa.select(sa.func.count()).select_from(table).where(*which)) or 0

    return server.begin(read()).result(60)


def unused(server: Running, container: str, *, minutes: int) -> None:
    async def write() -> None:
        async with server.app.books.database.write() as connection:
            this = sa.update(containers).where(containers.c.id == container)
            await connection.execute(this.values(last_active_at=int(clock.now()) - 60 * minutes))

    server.begin(write()).result(60)
