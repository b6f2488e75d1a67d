"""`homeport serve --workers 2`: two processes on one port, which are one Homeport to whoever asks."""

import asyncio
import json
import os
import select
import signal
import socket
import subprocess
import sys
import textwrap
import time
import urllib.request
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import msgspec
import openai
import pytest
from prometheus_client import parser

from homeport import app, workers
from homeport.api import server
from homeport.child import Orders
from homeport.errors import SettingsError
from homeport.settings import Settings
from tests.api.raw import CHAT, Answer
from tests.authority import Authority
from tests.fake_upstream import until
from tests.replicas.conftest import stores
from tests.replicas.house import PICO_PER_CENT, Gate, House, housed, spent
from tests.replicas.http import Client, at_once, chat, sent
from tests.replicas.processes import KEY, Replica
from tests.store.servers import PostgresServer, RedisServer

WORKERS = 2
#: Connections that are opened to meet both: all of them find the same one once in a million times.
MANY = 20
#: Where only one in a hundred runs needs to meet both.
FEW = 8
PATIENCE = 90.0
SLOW = chat("slow", stream=True)


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def pair(
    request: pytest.FixtureRequest,
    postgres: PostgresServer,
    redis: RedisServer,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[House]:
    """One Homeport of two workers, which nobody breaks."""
    given = stores(postgres, redis)
    if request.param == "sqlite":
        del given["database_url"]
    with housed(tmp_path_factory.mktemp("pair"), workers=WORKERS, **given) as house:
        yield house


@pytest.fixture
def fragile(redis: RedisServer, postgres: PostgresServer, tmp_path: Path) -> Iterator[House]:
    """One of a test's own, on SQLite: two processes write into the same files."""
    with housed(tmp_path, workers=WORKERS, redis_url=stores(postgres, redis)["redis_url"]) as house:
        yield house


def children(parent: int) -> set[int]:
    text = Path(f"/proc/{parent}/task/{parent}/children").read_text()
    return {int(pid) for pid in text.split()}


def pids(replica: Replica) -> set[int]:
    assert replica.process is not None
    return children(replica.process.pid)


def alive(pid: int) -> bool:
    with suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    return False


def connections(replica: Replica) -> dict[int, int]:
    """Port of the client -> the worker that has the other end."""
    lines = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    ours = {f"socket:[{line[9]}]": int(line[2][9:], 16) for line in lines if int(line[1][9:], 16) == replica.port}
    return {ours[file]: pid for pid in pids(replica) for file in open_files(pid) & ours.keys()}


def open_files(pid: int) -> set[str]:
    found = set()
    for file in Path(f"/proc/{pid}/fd").iterdir():
        with suppress(OSError):
            found.add(os.readlink(file))
    return found


def local_port(client: Client) -> int:
    port: int = client.writer.get_extra_info("sockname")[1]
    return port


def hold(gate: Gate, house: House) -> None:
    house.fake.by_model["slow"] = gate.behave


def test_streams_of_the_sdk_are_spread_over_the_workers(pair: House) -> None:
    gate = Gate()
    hold(gate, pair)

    async def ask() -> tuple[Counter[int], list[str]]:
        async with openai.AsyncOpenAI(base_url=f"{pair.first.url}/v1", api_key=KEY, max_retries=0) as client:
            streams = [
                await client.chat.completions.create(
                    model="slow", messages=[{"role": "user", "content": "hello"}], stream=True
                )
                for _ in range(MANY)
            ]
            held = Counter(connections(pair.first).values())
            gate.open()
            return held, ["".join([chunk.choices[0].delta.content or "" async for chunk in one]) for one in streams]

    held, texts = asyncio.run(ask())
    assert held.keys() >= pids(pair.first)
    assert held.total() >= MANY
    assert texts == [texts[0]] * MANY
    assert texts[0]


def test_a_limit_holds_over_both(pair: House) -> None:
    project = pair.new_project()
    pair.rate_limit(project, "counted", max_requests_per_1_day=10)
    answers = at_once(pair.ports, project.key, chat("counted"), 4 * MANY)
    assert Counter(answer.status for answer in answers) == {200: 10, 429: 4 * MANY - 10}
    assert len(pair.fake.received_for("counted")) == 10
    assert len(pair.rows(project, 10)) == 10


def test_a_change_of_keys_is_seen_by_both(pair: House) -> None:
    project = pair.new_project()
    made = pair.new_key(project.id)
    assert until(lambda: pair.first.knows(made["value"]), PATIENCE)
    pair.first.admin.projects.api_keys.delete(made["id"], project_id=project.id)
    statuses: list[int] = []

    def refused_by_both() -> bool:
        statuses[:] = [pair.first.ask("GET", "/v1/models", key=made["value"]).status for _ in range(MANY)]
        return set(statuses) == {401}

    assert until(refused_by_both, PATIENCE), statuses


@pytest.mark.parametrize("header", ["Idempotency-Key", "x-homeport-cache"])
def test_what_one_has_answered_the_other_answers_alike(pair: House, header: str) -> None:
    answers = [pair.first.ask("POST", CHAT, chat(header), headers={header: "on"}) for _ in range(MANY)]
    assert {answer.status for answer in answers} == {200}
    assert len({answer.body for answer in answers}) == 1
    asked = len(pair.fake.received_for(header))
    # An answer is given before it is in Redis: whoever comes in that moment to the other worker asks again.
    assert asked == 1 or (asked == 2 and header == "x-homeport-cache")
    again = [pair.first.ask("POST", CHAT, chat(header), headers={header: "on"}) for _ in range(MANY)]
    assert {answer.body for answer in again} == {answers[0].body}
    assert len(pair.fake.received_for(header)) == asked


def test_whoever_is_asked_tells_the_numbers_of_both(pair: House) -> None:
    before = counted(pair)
    answers = at_once(pair.ports, pair.new_project().key, chat("numbered"), 4 * MANY)
    assert {answer.status for answer in answers} == {200}
    for _ in range(FEW):
        after = counted(pair)
        assert after.keys() == {"worker-1", "worker-2"}
        assert after.total() - before.total() == 4 * MANY
        assert all(after[worker] > before[worker] for worker in after)


def test_whoever_is_asked_tells_how_both_are(pair: House) -> None:
    """What came to one is told by the other, too: all answers say the same."""
    answers = at_once(pair.ports, pair.new_project().key, chat("looked-at"), 4 * MANY)
    assert {answer.status for answer in answers} == {200}

    def requests() -> int:
        return int(pair.first.ask("GET", "/v1/homeport/status").json["server"]["recent"]["requests"])

    assert until(lambda: len({requests() for _ in range(FEW)}) == 1)
    assert requests() >= 4 * MANY
    shown = pair.first.ask("GET", "/v1/homeport/status").json["server"]
    assert {one["name"] for one in shown["processes"]} == {"worker-1", "worker-2"}
    assert len({one["pid"] for one in shown["processes"]}) == WORKERS
    assert (shown["workers"], shown["not_told"]) == (WORKERS, [])


def counted(house: House) -> Counter[str]:
    """Chat completions that each worker has answered well."""
    wanted = {"endpoint": "chat.completions", "http_response_status_code": "200"}
    found: Counter[str] = Counter()
    for name, labels, value in numbers(house.first):
        if name == "homeport_requests_total" and wanted.items() <= labels.items():
            found[labels["worker"]] += int(value)
    return found


def test_numbers_are_for_those_who_may_read_them(pair: House) -> None:
    answer = pair.first.ask("GET", "/metrics", key="sk-nobody", headers={"X-Forwarded-For": "192.0.2.1"})
    assert answer.status == 401


def numbers(replica: Replica) -> list[tuple[str, dict[str, str], float]]:
    answer = replica.ask("GET", "/metrics")
    assert answer.status == 200, answer.body
    families = list(parser.text_string_to_metric_families(answer.body.decode()))
    assert len({family.name for family in families}) == len(families), "a family is there twice"
    return [(one.name, dict(one.labels), float(one.value)) for family in families for one in family.samples]


def test_a_killed_worker_comes_back_and_its_requests_are_in_the_ledger(fragile: House) -> None:
    project = fragile.new_project()
    gate = Gate()
    hold(gate, fragile)
    before = pids(fragile.first)

    async def kill_one() -> tuple[int, list[Client], list[Client], list[Answer]]:
        async with sent(fragile.ports, project.key, SLOW, MANY) as streams:
            for stream in streams:
                await stream.head()
                await stream.reader.readuntil(b"\n\n")
            owner = connections(fragile.first)
            owners = {stream.request_id: owner[local_port(stream)] for stream in streams}
            victim = owners[streams[0].request_id]
            os.kill(victim, signal.SIGKILL)
            lost = [stream for stream in streams if owners[stream.request_id] == victim]
            kept = [stream for stream in streams if owners[stream.request_id] != victim]
            for stream in lost:
                assert b"[DONE]" not in await stream.rest()
            meanwhile = await asyncio.to_thread(answered, fragile, project.key)
            gate.open()
            for stream in kept:
                assert b"[DONE]" in await stream.rest()
            return victim, lost, kept, meanwhile

    victim, lost, kept, meanwhile = asyncio.run(kill_one())
    assert until(lambda: len(pids(fragile.first)) == WORKERS, PATIENCE)
    assert until(lambda: "in the ledger now" in fragile.first.log.read_text(), PATIENCE)
    assert victim not in pids(fragile.first)
    assert len(before & pids(fragile.first)) == WORKERS - 1
    rows = fragile.rows(project, len(lost) + len(kept) + len(meanwhile))
    outcomes = {row["request_id"]: row["outcome"] for row in rows}
    assert len(outcomes) == len(rows) == MANY + len(meanwhile)
    assert {outcomes[stream.request_id] for stream in lost} == {"killed"}
    assert {outcomes[stream.request_id] for stream in kept} == {"completed"}
    assert "was ended by SIGKILL" in fragile.first.log.read_text()


def test_a_spend_alert_is_told_once_by_all_workers(fragile: House) -> None:
    project = fragile.new_project()
    asked = {"threshold_amount": 1, "currency": "USD", "interval": "month"}
    channel = {"type": "email", "recipients": ["boss@example.com"]}
    fragile.first.make("/v1/organization/spend_alerts", {**asked, "notification_channel": channel})
    assert fragile.first.ask("POST", CHAT, chat("priced"), key=project.key).status == 200
    assert spent(fragile.rows(project, 1)) > PICO_PER_CENT
    fragile.first.stop()
    fragile.first.start()  # each worker looks as soon as it serves
    assert fragile.first.knows(project.key)
    assert until(lambda: told(fragile) > 0, PATIENCE)
    time.sleep(1)
    assert told(fragile) == 1


def told(house: House) -> int:
    return house.first.log.read_text().count("has spent")


def answered(house: House, key: str) -> list[Answer]:
    """By whoever lives: a connection that waited for the dead one is refused, and the next is not."""
    found: list[Answer] = []

    def all_there() -> bool:
        with suppress(OSError):
            found.append(house.first.ask("POST", CHAT, chat("echo"), key=key))
        return len(found) == MANY

    assert until(all_there, PATIENCE)
    assert {answer.status for answer in found} == {200}
    return found


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_the_end_drains_both(fragile: House, number: signal.Signals) -> None:
    project = fragile.new_project()
    gate = Gate()
    hold(gate, fragile)
    before = pids(fragile.first)

    async def drain() -> list[bytes]:
        async with sent(fragile.ports, project.key, SLOW, MANY) as streams:
            for stream in streams:
                await stream.head()
            assert fragile.first.process is not None
            fragile.first.process.send_signal(number)
            assert await asyncio.to_thread(until, lambda: refused(fragile.first), PATIENCE)
            gate.open()
            return [await stream.rest() for stream in streams]

    bodies = asyncio.run(drain())
    assert all(b"[DONE]" in body for body in bodies)
    fragile.first.stop()
    assert not any(map(alive, before))
    assert {row["outcome"] for row in fragile.rows(project, MANY)} == {"completed"}
    assert list((fragile.first.data / "journal").iterdir()) == []


def refused(replica: Replica) -> bool:
    try:
        replica.ask("GET", "/healthz")
    except OSError:
        return True
    return False


def test_workers_do_not_outlive_their_parent(fragile: House) -> None:
    project = fragile.new_project()
    gate = Gate()
    hold(gate, fragile)
    before = pids(fragile.first)

    async def kill_the_parent() -> list[bytes]:
        async with sent(fragile.ports, project.key, SLOW, MANY) as streams:
            for stream in streams:
                await stream.head()
            fragile.first.kill()
            gate.open()
            return [await stream.rest() for stream in streams]

    bodies = asyncio.run(kill_the_parent())
    assert all(b"[DONE]" in body for body in bodies)
    assert until(lambda: not any(map(alive, before)), PATIENCE)
    assert {row["outcome"] for row in fragile.rows(project, MANY)} == {"completed"}


def test_a_model_is_loaded_once_for_all_workers(
    redis: RedisServer, postgres: PostgresServer, tmp_path: Path, smollm2_file: Path
) -> None:
    """It answers through each of them, also after whoever holds it was killed; the ledger knows what it said."""
    pytest.importorskip("xllamacpp")
    settings = f"""
        [models.smollm2]
        path = "{smollm2_file}"
        engine = "llama_cpp"
        threads = 1
        context_length = 1024
        aliases = ["gpt-4o"]
    """
    given = stores(postgres, redis)["redis_url"]
    with housed(tmp_path, workers=WORKERS, redis_url=given, settings=textwrap.dedent(settings)) as house:
        project = house.new_project()
        asked = chat("gpt-4o", max_tokens=8, temperature=0)

        def say() -> list[Answer]:
            return [house.first.ask("POST", CHAT, asked, key=project.key) for _ in range(FEW)]

        before = say()
        assert {answer.status for answer in before} == {200}
        places = [one for one in numbers(house.first) if one[0] == "homeport_engine_places"]
        assert [labels["worker"] for _, labels, _ in places] == ["engines"]
        (text,) = {answer.json["choices"][0]["message"]["content"] for answer in before}
        assert text
        (holder,) = (pid for pid in pids(house.first) if smollm2_file.name in Path(f"/proc/{pid}/maps").read_text())
        assert len(pids(house.first)) == WORKERS + 1
        shown = house.first.ask("GET", "/v1/homeport/status").json
        (model,) = (one for one in shown["models"] if one["id"] == "smollm2")
        assert model["weights_bytes"] == smollm2_file.stat().st_size
        assert model["weights_bytes"] < model["memory_bytes"], "of the process that holds it"
        engines = next(one for one in shown["server"]["processes"] if one["name"] == "engines")
        assert model["memory_bytes"] < engines["memory_bytes"]

        async def kill_while_it_speaks() -> tuple[bytes, str]:
            long = chat("gpt-4o", stream=True, max_tokens=900, logit_bias={"2": -100})  # no end of the text
            async with sent(house.ports, project.key, long, 1) as (stream,):
                await stream.head()
                await stream.reader.readuntil(b"\n\n")
                os.kill(holder, signal.SIGKILL)
                return await stream.rest(), stream.request_id

        rest, cut = asyncio.run(kill_while_it_speaks())
        assert b"model_not_ready" in rest
        assert until(lambda: {answer.status for answer in say()} == {200}, PATIENCE)
        assert until(lambda: house.first.ask("GET", "/readyz").json["models"]["smollm2"] == "ready", PATIENCE)
        assert holder not in pids(house.first)
        rows = {row["request_id"]: row for row in house.rows(project, 2 * FEW + 1)}
        assert (rows[cut]["outcome"], rows[cut]["status"]) == ("failed", 503)
        for answer in before:
            row = rows[answer.headers["x-request-id"]]
            usage = answer.json["usage"]
            assert (row["outcome"], row["ran"], row["backend"]) == ("completed", "smollm2", "local")
            assert row["input_tokens"] + row["cached_tokens"] == usage["prompt_tokens"]
            assert row["output_tokens"] == usage["completion_tokens"]
            assert not row["estimated"]


def test_a_port_that_workers_have_is_not_shared_with_others(pair: House, tmp_path: Path) -> None:
    text = pair.first.folder.joinpath("homeport.toml").read_text()
    (tmp_path / "homeport.toml").write_text(text)
    for number in ("1", "2"):
        process = started(tmp_path, "--port", str(pair.first.port), "--workers", number)
        assert process.returncode == 2
        assert "Cannot listen on" in process.stderr


def test_each_speaks_tls(redis: RedisServer, tmp_path: Path) -> None:
    authority = Authority()
    pair = authority.pair().write(tmp_path)
    table = {"workers": WORKERS, "port": 0, "data": str(tmp_path / "d"), **pair}
    lines = [f"{name} = {json.dumps(value)}" for name, value in table.items()]
    text = "\n".join([f'redis_url = "{redis.url}"', "[models.echo]", 'engine = "echo"', "[server]", *lines])
    (tmp_path / "homeport.toml").write_text(text)
    command = [sys.executable, "-m", "homeport", "serve"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, cwd=tmp_path, env=environment(), text=True) as process:
        assert process.stdout is not None
        url = next(line.split()[-1] for line in process.stdout if "base_url" in line)
        assert url.startswith("https://")
        request = urllib.request.Request(f"{url}/models", headers={"Authorization": f"Bearer {KEY}"})
        for _ in range(MANY):  # each on a connection of its own
            with urllib.request.urlopen(request, context=authority.trust(), timeout=PATIENCE) as answer:
                assert answer.status == 200
        process.terminate()
    assert process.returncode == 0


def environment() -> dict[str, str]:
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("HOMEPORT_")}
    return {**inherited, "HOMEPORT_API_KEY": KEY}


def started(folder: Path, *arguments: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-m", "homeport", "serve", "--data", str(folder / "d"), *arguments],
        capture_output=True,
        text=True,
        cwd=folder,
        env=environment(),
        timeout=PATIENCE,
    )


def test_workers_without_redis_are_refused(tmp_path: Path) -> None:
    process = started(tmp_path, "--port", "0", "--workers", "2")
    assert process.returncode == 2
    assert process.stderr.startswith("homeport: 2 workers need redis_url")
    assert process.stdout == ""
    assert not (tmp_path / "d").exists()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--host", "0.0.0.0"), "without TLS"),
        (("--tls-cert", "none.pem", "--tls-key", "none.pem"), "server.tls_cert: 'none.pem' cannot be read"),
    ],
)
def test_what_one_is_refused_several_are(tmp_path: Path, arguments: tuple[str, ...], words: str) -> None:
    (tmp_path / "homeport.toml").write_text('redis_url = "redis://127.0.0.1:1/0"\n[server]\nworkers = 2\n')
    process = started(tmp_path, "--port", "0", *arguments)
    assert process.returncode == 2
    assert words in process.stderr


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"recording": {"record": "r"}}, "Recordings"),
        ({"recording": {"replay": "r"}}, "Recordings"),
        ({"server": {"workers": 3, "max_connections": 2}}, "server.max_connections = 2"),
        ({"upstreams": {"far": {"connections": 1}}}, "upstreams.far.connections = 1"),
    ],
)
def test_what_several_cannot_do_is_refused(settings: dict[str, object], words: str) -> None:
    table = {"redis_url": "redis://127.0.0.1:1/0", "server": {"workers": 2}, **settings}
    with pytest.raises(SettingsError, match=words):
        workers.check(msgspec.convert(table, Settings))


@pytest.mark.parametrize("number", [2, 3, 7])
def test_what_the_settings_allow_all_workers_have_together(number: int) -> None:
    upstream = {"connections": 256, "queue": 5, "api_key": "sk-1"}
    table = {"server": {"workers": number, "max_connections": 1000}, "upstreams": {"far": upstream}}
    whole = msgspec.convert(table, Settings)
    shares = [workers.share(whole, index) for index in range(number)]
    assert sum(one.server.max_connections for one in shares) == 1000
    assert sum(one.upstreams["far"].connections for one in shares) == 256
    assert sum(one.upstreams["far"].queue for one in shares) == 5
    assert sum(one.cache.max_mb for one in shares) == whole.cache.max_mb
    assert {one.upstreams["far"].api_key for one in shares} == {"sk-1"}


def test_a_worker_that_cannot_start_is_not_tried_again(capfd: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    table = {"redis_url": "redis://127.0.0.1:1/0", "limits": {"tier": "none"}, "server": {"data": str(tmp_path)}}
    orders = Orders(msgspec.convert(table, Settings), "")
    with server.reserve("127.0.0.1", 0) as reserved:
        child = workers.Child("worker-1", orders, lambda: server.beside(reserved))
        with pytest.raises(workers.NotStarted) as caught:
            asyncio.run(child.live())
    assert caught.value.status == 2
    assert "there is no tier 'none'" in capfd.readouterr().err


def test_a_worker_whose_parent_went_before_it_was_ready_ends(redis: RedisServer, tmp_path: Path) -> None:
    """It has said that it listens, and nobody has read that."""
    table = {"redis_url": redis.url, "models": {"echo": {"engine": "echo"}}, "server": {"data": str(tmp_path)}}
    orders = Orders(msgspec.convert(table, Settings), "")
    asyncio.run(prepared(orders.settings))
    leash, its_end = socket.socketpair()
    with server.reserve("127.0.0.1", 0) as reserved, server.beside(reserved) as listener:
        with its_end:
            process = subprocess.Popen(
                [sys.executable, "-m", "homeport.child", "worker-1", str(its_end.fileno()), str(listener.fileno())],
                pass_fds=(its_end.fileno(), listener.fileno()),
            )
        with leash:
            leash.sendall(orders.packed())
            assert select.select([leash], [], [], PATIENCE)[0]
        assert process.wait(PATIENCE) == 0


async def prepared(settings: Settings) -> None:
    built = app.build(settings)
    try:
        await built.open(KEY)
    finally:
        await built.close()
