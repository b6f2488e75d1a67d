"""The bench is honest: it counts what fails, compares only what is right, and its ratios follow from the figures."""

import json
import math
import shutil
import subprocess
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

from bench import build, gateway, loading, processes
from bench.gateway import Contenders, Gateway, Scenario
from bench.loading import Sample
from bench.report import Goal
from bench.run import options_of
from bench.startup import seconds_of

SECONDS = 0.3
needs_gcc = pytest.mark.skipif(not (shutil.which("gcc") or shutil.which("cc")), reason=build.INSTALL_GCC)
PLAIN = Scenario("plain", 4)
STREAM = Scenario("stream", 4, chunks=20, interval_us=1000)


@pytest.fixture(scope="module")
def compared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Contenders]:
    with gateway.contenders(tmp_path_factory.mktemp("bench")) as started:
        yield started


def sample(**changed: float) -> Sample:
    figures = dict.fromkeys(Sample.__dataclass_fields__, 1.0) | {"errors": 0, "count": 100} | changed
    return Sample(**figures)  # type: ignore[arg-type]


@needs_gcc
@pytest.mark.parametrize("name", ["direct", "nginx", "homeport"])
@pytest.mark.parametrize("scenario", [PLAIN, STREAM], ids=lambda one: one.name)
def test_every_contender_answers_whole(compared: Contenders, tmp_path: Path, name: str, scenario: Scenario) -> None:
    if name not in compared.servers:
        pytest.skip(compared.why[name])
    server = compared.servers[name]
    port = server.stream_port if scenario.chunks else server.port
    request = loading.request_file(tmp_path, scenario.body())
    taken = loading.measure(server, request, scenario.connections, seconds=SECONDS, port=port)
    assert taken.errors == 0
    assert taken.count > 0
    assert taken.rate > 0
    if scenario.chunks:
        assert taken.events == taken.count * scenario.chunks
        assert taken.whole_p50 >= (scenario.chunks - 1) * scenario.interval_us
        assert taken.first_p50 < taken.whole_p50


@needs_gcc
@pytest.mark.parametrize("name", ["direct", "homeport"])
@pytest.mark.parametrize(
    "order",
    [
        pytest.param({"bench_fail": 1}, id="status 500"),
        pytest.param({"bench_fail": 2}, id="torn"),
        pytest.param({"bench_fail": 2, "stream": True}, id="torn stream"),
    ],
)
def test_a_failing_upstream_counts_as_errors(
    compared: Contenders, tmp_path: Path, name: str, order: dict[str, object]
) -> None:
    body = {"model": "gpt-4o-mini", **order, "messages": [{"role": "user", "content": "Hello"}]}
    taken = loading.measure(compared.servers[name], loading.request_file(tmp_path, body), 2, seconds=SECONDS)
    assert taken.errors > 0
    assert taken.count == 0
    assert taken.rate == 0


@needs_gcc
def test_a_wrong_key_counts_as_errors(compared: Contenders, tmp_path: Path) -> None:
    request = loading.request_file(tmp_path, PLAIN.body(), key="sk-wrong-0123456789")
    taken = loading.measure(compared.servers["homeport"], request, 2, seconds=SECONDS)
    assert (taken.count, taken.errors > 0) == (0, True)


@needs_gcc
def test_a_server_that_is_not_there_counts_as_errors(compared: Contenders, tmp_path: Path) -> None:
    request = loading.request_file(tmp_path, PLAIN.body())
    taken = loading.measure(compared.upstream, request, 3, seconds=SECONDS, port=processes.free_port())
    assert (taken.count, taken.errors) == (0, 3)


@needs_gcc
def test_the_number_of_requests_is_kept(compared: Contenders, tmp_path: Path) -> None:
    request = loading.request_file(tmp_path, PLAIN.body())
    assert loading.measure(compared.upstream, request, 3, seconds=5, most=17).count == 17


@needs_gcc
def test_a_request_has_its_number_where_the_file_says_so(tmp_path: Path) -> None:
    bodies: list[str] = []

    class Recording(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            bodies.append(json.loads(self.rfile.read(int(self.headers["content-length"])))["said"])
            self.send_response(200)
            self.send_header("content-length", "2")
            self.end_headers()
            self.wfile.write(b"{}")

        def log_message(self, *_: object) -> None:
            pass

    request = loading.request_file(tmp_path, {"said": "number ########."})
    with ThreadingHTTPServer(("127.0.0.1", 0), Recording) as server:
        Thread(target=server.serve_forever).start()
        try:
            command = loading.command(server.server_port, request, 3, seconds=30, most=7)
            said = json.loads(subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout)
        finally:
            server.shutdown()
    assert said["count"] == 7
    assert sorted(bodies) == [f"number {number:08}." for number in range(1, 8)]


@needs_gcc
def test_streams_that_fail_have_no_memory_figure(compared: Contenders, tmp_path: Path) -> None:
    nobody = processes.Served(compared.upstream.pid, compared.upstream.port, processes.free_port())
    assert gateway.memory_per_stream(tmp_path, nobody, 4) == math.inf


@needs_gcc
def test_rounds_measure_every_contender_as_often(compared: Contenders, tmp_path: Path) -> None:
    samples = gateway.one_scenario(tmp_path, compared, PLAIN, rounds=2, seconds=0.1)
    assert {name: len(taken) for name, taken in samples.items()} == dict.fromkeys(compared.servers, 2)


def test_figures_follow_from_what_the_load_says() -> None:
    times = {"p50": 10, "p90": 20, "p99": 30, "p100": 40}
    said: dict[str, Any] = {"count": 100, "seconds": 4.0, "cpu_seconds": 1.0, "events": 0, "tokens": 0}
    said |= {"errors": {"status": 1, "incomplete": 2}, "whole_us": times, "first_us": times}
    figures = loading.sample(said, used=0.5, helped=1.0)
    assert (figures.rate, figures.cpu_us, figures.errors, figures.busy) == (25, 5000, 3, 0.5)


def test_a_median_hides_an_outlier_and_no_error() -> None:
    found = gateway.medians([sample(rate=10), sample(rate=1000, errors=1), sample(rate=12)])
    assert (found["rate"], found["errors"]) == (12, 1)


def compared_figures(nginx: Sample | None, homeport: Sample) -> Gateway:
    rounds = {"direct": [sample(whole_p50=10)], "homeport": [homeport]} | ({"nginx": [nginx]} if nginx else {})
    names = [scenario.name for scenario in gateway.SCENARIOS]
    return Gateway(rounds=dict.fromkeys(names, rounds), memory={"homeport": 8000.0})


def test_ratios_follow_from_the_figures() -> None:
    goals = compared_figures(sample(cpu_us=20, whole_p50=90), sample(cpu_us=40, whole_p50=210)).goals()
    assert [(goal.value, goal.verdict) for goal in goals] == [
        (0.5, "target"),  # per core: 25,000 of 50,000
        (0.5, "target"),
        (2.0, "MISSED"),  # CPU per chunk
        (2.5, "MISSED"),  # 200 us added, nginx 80
        (None, "not compared"),
        (None, "not compared"),
        (None, "not compared"),
        (8.0, "target"),
        (0.0, "floor"),
    ]


def test_litellm_is_compared_where_it_was_measured() -> None:
    found = compared_figures(sample(), sample(cpu_us=50))
    for rounds in found.rounds.values():
        rounds["litellm"] = [sample(cpu_us=10_000)]
    assert [goal.value for goal in found.goals() if "LiteLLM" in goal.name] == [200, 200, 200]


@pytest.mark.parametrize(
    ("nginx", "homeport"),
    [
        (None, sample()),
        (sample(), sample(errors=1)),
        (sample(errors=1), sample()),
        (sample(), sample(count=0, errors=9)),
    ],
)
def test_nothing_is_compared_with_what_is_missing_or_wrong(nginx: Sample | None, homeport: Sample) -> None:
    goals = compared_figures(nginx, homeport).goals()
    assert {goal.verdict for goal in goals[:4]} == {"not compared"}
    assert goals[-1].verdict == ("MISSED" if homeport.errors else "floor")


@pytest.mark.parametrize(
    ("value", "rising", "verdict"),
    [
        (0.29, True, "MISSED"),
        (0.30, True, "floor"),
        (0.45, True, "target"),
        (0.7, True, "stretch"),
        (0.7, False, "MISSED"),
        (0.5, False, "target"),
        (None, True, "not compared"),
    ],
)
def test_a_goal_names_the_best_mark_that_is_reached(value: float | None, rising: bool, verdict: str) -> None:
    marks = (0.30, 0.45, 0.60) if rising else (0.60, 0.50, 0.30)
    assert Goal("", value, *marks, rising=rising).verdict == verdict


def test_the_tables_show_what_was_not_compared() -> None:
    shown = Gateway(missing={"nginx": "nginx is not installed: do this"}).table()
    assert "nginx was not compared: nginx is not installed: do this" in shown


def test_a_missing_compiler_is_named_with_its_install_line(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(build, "FOLDER", tmp_path)
    monkeypatch.setenv("PATH", "")
    with pytest.raises(build.NotBuilt, match="apt-get install gcc"):
        build.program.__wrapped__("load")


def test_a_command_is_timed() -> None:
    assert 0.05 < seconds_of(["sleep", "0.05"], 1) < 5


def test_options_are_checked(capsys: pytest.CaptureFixture[str]) -> None:
    assert options_of(["--only", "gateway,startup", "--quick"]).parts == ["gateway", "startup"]
    with pytest.raises(SystemExit):
        options_of(["--only", "speed"])
    assert "'speed'" in capsys.readouterr().err
