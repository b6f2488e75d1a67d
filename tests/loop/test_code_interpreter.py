"""The tool that runs code: what comes into its folder, what becomes of what it leaves there, and of its variables, on
each kind of database. The cells are fake ones: what walls hold is tested in tests/sandbox."""

import asyncio
import json
import os
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from homeport import clock
from homeport.control import container_states as states
from homeport.control.container_states import Put
from homeport.control.container_work import ContainerWork
from homeport.control.containers import Containers
from homeport.control.files import Files, add
from homeport.control.owners import Owner
from homeport.errors import HomeportError, InvalidRequest, NotFound, Unavailable
from homeport.loop.tools import code_interpreter, workplaces
from homeport.loop.tools.code_interpreter import CodeInterpreter, cut
from homeport.loop.tools.toolbox import Toolbox
from homeport.loop.tools.workplaces import Workplaces
from homeport.settings import CodeInterpreter as Settings
from homeport.settings import Files as FilesSettings
from homeport.store.blobs import Blobs
from homeport.store.database import Database
from homeport.store.folder import Folder
from homeport.store.tables import container_files, containers, files, projects, threads
from homeport.wire.containers import CreateContainerRequest
from tests.cells import FakeCells
from tests.control.conftest import database, postgres
from tests.control.databases import prepare
from tests.loop.hosted import call

__all__ = ["database", "postgres"]

WHO = Owner("proj_1", "key_1")
PNG = b"\x89PNG\r\n\x1a\n" + bytes(16)
CODE = [{"type": "code_interpreter"}]


class Process:
    """One of Homeport's, as far as code goes."""

    def __init__(self, database: Database, blobs: Blobs, data: Path, settings: Settings) -> None:
        self.cells = FakeCells()
        files = Files(blobs, FilesSettings(max_project_gb=1))
        self.containers = Containers(blobs, files, settings)
        work = ContainerWork(blobs, files, settings)
        self.places = Workplaces(work, self.cells, blobs, settings, data / "containers")
        nothing: Any = None
        self.toolbox = Toolbox(database, stores=nothing, search=nothing, work=work, workplaces=self.places)

    async def of_thread(self, *, resources: Any = None) -> CodeInterpreter:
        (made,) = await self.toolbox.of_run(WHO, thread_seq=1, model="m", tools=CODE, tool_resources=resources)
        assert isinstance(made, CodeInterpreter)
        return made

    async def of_response(self, container: Any, before: str | None = None) -> CodeInterpreter:
        tools = [{"type": "code_interpreter", "container": container}]
        (made,) = await self.toolbox.of_response(WHO, model="m", tools=tools, container=before)
        assert isinstance(made, CodeInterpreter)
        return made


class House(Process):
    """The first of them, with what all share."""

    def __init__(self, database: Database, folder: Path, settings: Settings) -> None:
        self.database = database
        self.folder = folder
        self.settings = settings
        self.blobs = Blobs(database, Folder(folder / "blobs"), folder / "staging")
        super().__init__(database, self.blobs, folder, settings)

    def another(self) -> Process:
        return Process(self.database, self.blobs, self.folder, self.settings)

    async def upload(self, content: bytes, name: str = "data.csv") -> str:
        async with self.blobs.staged() as staged:
            await staged.write(content)
            async with self.blobs.keep(staged) as connection:
                return (await add(connection, WHO.project, name, "assistants", staged, life=None)).id

    async def rows(self, *columns: Any, where: Any = True) -> Sequence[Any]:
        async with self.database.read() as connection:
            return (await connection.execute(sa.select(*columns).where(where).order_by(*columns[:1]))).all()

    async def content(self, file_id: str) -> bytes:
        ((digest,),) = await self.rows(files.c.digest, where=files.c.id == file_id)
        return b"".join([piece async for piece in self.blobs.read(digest)])


Test = Callable[[House], Awaitable[None]]


def running(database: Database, folder: Path) -> Callable[..., None]:
    def run(test: Test, **settings: Any) -> None:
        async def whole() -> None:
            try:
                await prepare(database)
                async with database.write() as connection:
                    await connection.execute(projects.insert().values(id=WHO.project, name="P", created_at=0))
                    await connection.execute(
                        threads.insert().values(id="thread_1", project_id=WHO.project, created_at=0)
                    )
                house = House(database, folder, Settings(**settings))
                await house.blobs.start()
                await house.places.open()
                await test(house)
                await house.places.close()
                assert not [cell.folder for cell in house.cells.made if cell.folder.exists()]
            finally:
                await database.close()

        asyncio.run(whole())

    return run


@pytest.fixture
def run(database: Database, tmp_path: Path) -> Callable[..., None]:
    """On each kind of database."""
    return running(database, tmp_path)


@pytest.fixture
def run_once(tmp_path: Path) -> Callable[..., None]:
    """Where no row is at stake."""
    return running(Database(f"sqlite:///{tmp_path / 'state.db'}"), tmp_path)


async def ran(tool: CodeInterpreter, code: str) -> Any:
    """The calling, once the tool has ended it."""
    calling = call("code_interpreter", json.dumps({"code": code}))
    await tool.call(calling)
    return calling


def test_variables_and_files_stay(run: Any) -> None:
    async def test(house: House) -> None:
        tool = await house.of_thread()
        first = await ran(tool, "x = 41\nprint('hello')\n(data / 'out.txt').write_text('kept')")
        assert first.output == ("hello\n(Files, each to be linked to like this: sandbox:/mnt/data/out.txt)")
        result = first.result
        assert (result.container_id, result.logs, result.failed) == (tool.container_id, "hello\n", "")
        ((made),) = result.files
        assert (made.path, made.bytes, made.image) == ("out.txt", 4, False)
        assert await house.content(made.file_id) == b"kept"
        ((name, purpose),) = await house.rows(files.c.filename, files.c.purpose)
        assert (name, purpose) == ("out.txt", "assistants_output")
        again = await house.of_thread()
        assert again.container_id == tool.container_id
        assert again.sources[0].files == result.files  # a text may link to it in later runs, too
        second = await ran(again, "print(x + 1, (data / 'out.txt').read_text())")
        assert second.output == "42 kept"
        assert second.result.files == []
        assert (await ran(again, "pass")).output == "(It ran to its end and wrote nothing.)"

    run(test)


def test_files_come_in_by_their_names_and_their_ids(run: Any) -> None:
    async def test(house: House) -> None:
        mine, theirs = await house.upload(b"of the assistant"), await house.upload(b"of the thread")
        await set_resources(house, theirs)
        gone = "file-gone"
        tool = await house.of_thread(resources={"code_interpreter": {"file_ids": [mine, gone]}})
        assert "data.csv, data-2.csv" in tool.definition["function"]["description"]
        read = f"print([(data / name).read_text() for name in ('data.csv', 'data-2.csv', '{mine}', '{theirs}')])"
        seen = await ran(tool, read)
        assert seen.output == str(["of the assistant", "of the thread"] * 2)
        assert seen.result.files == []
        later = await house.upload(b"attached later", "b.txt")
        await set_resources(house, theirs, later)
        assert (await ran(await house.of_thread(), "print((data / 'b.txt').read_text())")).output == "attached later"

    run(test)


async def set_resources(house: House, *file_ids: str) -> None:
    async with house.database.write() as connection:
        await connection.execute(
            sa.update(threads).values(tool_resources={"code_interpreter": {"file_ids": [*file_ids]}})
        )


def test_what_changes_is_a_new_file_and_what_is_deleted_is_gone(run: Any) -> None:
    async def test(house: House) -> None:
        mine = await house.upload(b"before")
        tool = await house.of_thread(resources={"code_interpreter": {"file_ids": [mine]}})
        touched = await ran(tool, "import os; os.utime(data / 'data.csv', (1, 1))")
        assert touched.result.files == []
        changed = await ran(tool, "(data / 'data.csv').write_text('after')")
        ((made),) = changed.result.files
        assert await house.content(made.file_id) == b"after"
        assert await house.rows(container_files.c.path, container_files.c.source) == [("data.csv", "assistant")]
        again = await house.of_thread(resources={"code_interpreter": {"file_ids": [mine]}})
        assert (
            await ran(again, "print([one.name for one in data.iterdir() if not one.is_symlink()])")
        ).output == "['data.csv']"
        await ran(tool, "(data / 'data.csv').unlink(); (data / 'sub').mkdir(); (data / 'sub/x').write_text('x')")
        assert await house.rows(container_files.c.path) == [("sub/x",)]
        assert len(await house.rows(files.c.id)) == 3  # as files of the project they stay

    run(test)


def test_pictures_are_told_from_other_files(run_once: Any) -> None:
    async def test(house: House) -> None:
        tool = await house.of_thread()
        code = f"""
(data / 'b.png').write_bytes({PNG!r})
(data / 'a.SVG').write_text('<svg xmlns="http://www.w3.org/2000/svg"/>')
(data / 'no.png').write_text('no picture')
"""
        done = await ran(tool, code)
        assert {one.path: one.image for one in done.result.files} == {"b.png": True, "a.SVG": True, "no.png": False}
        assert "(Pictures that the user sees: b.png, a.SVG)" in done.output

    run_once(test)


def test_another_process_has_the_files_and_says_that_variables_are_lost(run: Any) -> None:
    async def test(house: House) -> None:
        one, other = house, house.another()
        tool = await one.of_thread()
        await ran(tool, "x = 1; (data / 'sub').mkdir(); (data / 'sub/a.txt').write_text('a')")
        there = await ran(await other.of_thread(), "print((data / 'sub/a.txt').read_text(), 'x' in globals())")
        assert there.output == f"{code_interpreter._RESTARTED}\na False"
        assert there.result.files == []
        await ran(await other.of_thread(), "(data / 'b.txt').write_text('b'); (data / 'sub/a.txt').unlink()")
        back = await ran(tool, "print(sorted(one.name for one in data.rglob('*')), 'x' in globals())")
        assert back.output == f"{code_interpreter._RESTARTED}\n['b.txt'] False"
        assert one.cells.made[0].closed
        assert (await ran(tool, "print(1)")).output == "1"

    run(test)


def test_a_cell_that_died_is_told_and_its_files_are_there(run_once: Any) -> None:
    async def test(house: House) -> None:
        tool = await house.of_thread()
        await ran(tool, "(data / 'a.txt').write_text('a')")
        house.cells.made[0].die()
        done = await ran(tool, "print((data / 'a.txt').read_text())")
        assert done.output == f"{code_interpreter._RESTARTED}\na"

    run_once(test)


def test_what_fails_is_told_once(run_once: Any) -> None:
    async def test(house: House) -> None:
        done = await ran(await house.of_thread(), "1 / 0")
        assert done.output == "ZeroDivisionError: division by zero"
        assert done.result.failed == "ZeroDivisionError: division by zero"

    run_once(test)


def test_links_lead_nowhere(run_once: Any, tmp_path: Path) -> None:
    """Code has left links in the folder: nothing outside is read, and nothing written."""
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "secret").write_text("of the machine")

    async def test(house: House) -> None:
        tool = await house.of_thread(resources={"code_interpreter": {"file_ids": [await house.upload(b"in")]}})
        hostile = f"""
import os
(data / 'sub').mkdir()
(data / 'sub/a.txt').write_text('a')
os.symlink({str(outside / "secret")!r}, data / 'leak.txt')
os.symlink({str(outside)!r}, data / 'leaks')
os.link({str(outside / "secret")!r}, data / 'hard.txt')
os.mkfifo(data / 'pipe')
(data / '.hidden').write_text('x')
(data / 'a\\nb').write_text('x')
"""
        done = await ran(tool, hostile)
        assert [one.path for one in done.result.files] == ["sub/a.txt"]
        await ran(
            tool,
            f"""
import shutil
shutil.rmtree(data / 'sub')
os.symlink({str(outside)!r}, data / 'sub')
(data / 'data.csv').unlink()
os.symlink({str(outside / "secret")!r}, data / 'data.csv')
""",
        )
        ((digest,),) = await house.rows(files.c.digest, where=files.c.id == await house.upload(b"new"))
        async with house.database.write() as connection:  # as somebody else's code leaves it
            await connection.execute(sa.update(container_files).values(digest=digest, path="sub/b.txt"))
            container = (await connection.execute(sa.select(containers))).mappings().one()
            await states.put(connection, container, [Put("data.csv", digest, 3, "assistant")], most_bytes=100)
        seen = "print([((data / one).read_text(), (data / one).is_symlink()) for one in ('data.csv', 'sub/b.txt')])"
        done = await ran(tool, seen)
        assert done.output == "[('new', False), ('new', False)]"
        assert sorted(os.listdir(outside)) == ["secret"]
        assert (outside / "secret").read_text() == "of the machine"

    run_once(test)


def test_too_many_files_are_not_kept(run_once: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workplaces, "MOST_MADE", 2)

    async def test(house: House) -> None:
        tool = await house.of_thread()
        done = await ran(tool, "[(data / f'{number}.txt').write_text('x') for number in range(5)]")
        assert [one.path for one in done.result.files] == ["0.txt", "1.txt"]
        assert "2 files and 512 MB are kept; 3 files are beyond that" in done.output
        assert (await ran(tool, "pass")).result.files == []

    run_once(test)


def test_what_a_full_disk_took_away_comes_back(run_once: Any) -> None:
    async def test(house: House) -> None:
        tool = await house.of_thread(resources={"code_interpreter": {"file_ids": [await house.upload(b"mine")]}})
        full = await ran(tool, "(data / 'data.csv').unlink(); raise OSError(28, 'no space')")
        assert full.output.endswith(code_interpreter._WHY["disk"])
        assert (await ran(tool, "print((data / 'data.csv').read_text())")).output == "mine"

    run_once(test)


def test_a_project_without_room_is_told(run_once: Any) -> None:
    async def test(house: House) -> None:
        house.containers._project_files._most_bytes = 10
        tool = await house.of_thread()
        done = await ran(tool, "(data / 'a.txt').write_text('x' * 11); print('done')")
        assert done.result.files == []
        assert done.output.startswith("done\n(The files are not kept. The project's files may have 10 bytes in total")
        house.containers._project_files._most_bytes = 100
        assert [one.path for one in (await ran(tool, "pass")).result.files] == ["a.txt"]

    run_once(test)


def test_what_the_api_puts_in_is_there_next_time(run: Any) -> None:
    async def test(house: House) -> None:
        tool = await house.of_response({"type": "auto"})
        await ran(tool, "(data / 'a.txt').write_text('a')")
        ((a,),) = await house.rows(container_files.c.id)
        assert await house.rows(files.c.id) == []  # of responses' code nothing becomes a project's file
        async with house.blobs.staged() as staged:
            await staged.write(b"of the user")
            await house.containers.add_file(WHO, tool.container_id, "b.txt", staged)
        await house.containers.delete_file(WHO, tool.container_id, a)
        done = await ran(tool, "print(sorted(one.name for one in data.iterdir()), (data / 'b.txt').read_text())")
        assert done.output == "['b.txt'] of the user"

    run(test)


def test_containers_of_responses(run: Any) -> None:
    async def test(house: House) -> None:
        file_id = await house.upload(b"x")
        first = await house.of_response({"type": "auto", "file_ids": [file_id]})
        await ran(first, "y = 2")
        second = await house.of_response({"type": "auto"}, before=first.container_id)
        assert (await ran(second, "print(y, (data / 'data.csv').read_text())")).output == "2 x"
        named = await house.containers.create(WHO, CreateContainerRequest(name="n"))
        third = await house.of_response(named.id)
        assert third.container_id == named.id
        await age(house)
        fourth = await house.of_response({"type": "auto"}, before=first.container_id)
        assert fourth.container_id != first.container_id
        assert await raised(house.of_response(named.id)) == (InvalidRequest, "tools[0].container", "container_expired")
        assert await raised(house.of_response("cntr_none")) == (NotFound, "tools[0].container", None)
        missing = house.of_response({"type": "auto", "file_ids": ["file-none"]})
        assert await raised(missing) == (NotFound, "tools[0].container.file_ids", None)
        with pytest.raises(InvalidRequest, match="has expired"):
            await ran(third, "print(1)")

    run(test)


async def age(house: House) -> None:
    async with house.database.write() as connection:
        await connection.execute(sa.update(containers).values(last_active_at=int(clock.now()) - 1201))


async def raised(asking: Awaitable[Any]) -> tuple[type[HomeportError], str | None, str | None]:
    with pytest.raises(HomeportError) as caught:
        await asking
    return type(caught.value), caught.value.param, caught.value.code


def test_that_of_a_thread_does_not_expire_and_goes_with_it(run: Any) -> None:
    async def test(house: House) -> None:
        tool = await house.of_thread()
        await ran(tool, "(data / 'a.txt').write_text('a')")
        await age(house)
        await house.containers.expire()
        assert (await ran(tool, "print((data / 'a.txt').read_text())")).output == "a"
        folder = house.cells.made[-1].folder
        await house.places.sweep()
        assert folder.exists()
        async with house.database.write() as connection:
            await connection.execute(sa.delete(threads))
        await house.places.sweep()
        assert not folder.exists()
        with pytest.raises(NotFound):
            await ran(tool, "print(1)")

    run(test)


def test_places_are_given_up_for_others(run_once: Any) -> None:
    async def test(house: House) -> None:
        tools = [await house.of_response({"type": "auto"}) for _ in range(3)]
        for tool in tools:
            await ran(tool, "x = 1; (data / 'a').write_text('a')")
        folders = [cell.folder for cell in house.cells.made]
        assert [folder.exists() for folder in folders] == [False, True, True]
        assert house.cells.made[0].closed
        assert (await ran(tools[0], "print((data / 'a').read_text())")).output.endswith(
            "lost. The files are still there.)\na"
        )

    run_once(test, cells=2)


def test_one_execution_at_a_time_and_cancelled_ones_do_no_harm(run_once: Any) -> None:
    async def test(house: House) -> None:
        tool = await house.of_response({"type": "auto"})
        await ran(tool, "x = 1")
        async with asyncio.TaskGroup() as group:
            slow = group.create_task(ran(tool, "await nothing"))
            await house.cells.waiting.wait()
            waiting = group.create_task(ran(tool, "x += 1; print(x)"))
            await asyncio.sleep(0)
            assert not waiting.done()
            slow.cancel()
        assert waiting.result().output == "2"

    run_once(test)


def test_without_cells_it_is_refused(run_once: Any) -> None:
    async def test(house: House) -> None:
        house.toolbox.check(["function", "code_interpreter"])
        tool = await house.of_thread()
        house.cells.reason = "There is no bubblewrap here."
        house.toolbox.check(["function", "file_search"])
        with pytest.raises(InvalidRequest, match="no bubblewrap") as caught:
            house.toolbox.check(["function", "code_interpreter"])
        assert caught.value.param == "tools[1].type"
        with pytest.raises(Unavailable, match="no bubblewrap"):
            await ran(tool, "print(1)")

    run_once(test)


def test_folders_of_dead_processes_are_taken_away(run_once: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    async def test(house: House) -> None:
        await ran(await house.of_thread(), "x = 1")
        above = house.folder / "containers"
        (living,) = above.iterdir()
        left = above / "left"
        (left / "some").mkdir(parents=True)
        (left / "some" / "file").write_text("x")
        await house.another().places.open()
        assert left.exists()  # it may have begun this moment
        os.utime(left, (1, 1))
        await house.another().places.open()
        assert [*above.iterdir()] == [living]

    run_once(test)


def test_broken_arguments_are_told(run_once: Any) -> None:
    async def test(house: House) -> None:
        calling = call("code_interpreter", '{"code": "print(1')
        await (await house.of_thread()).call(calling)
        assert "no JSON" in (calling.output or "")
        assert house.cells.made == []

    run_once(test)


def test_long_output_loses_its_middle() -> None:
    assert cut("abc", 3) == "abc"
    text = cut("a" * 50 + "b" * 50, 20)
    assert text == "aaaaaaaaaa\n... 80 characters are left out ...\nbbbbbbbbbb"
