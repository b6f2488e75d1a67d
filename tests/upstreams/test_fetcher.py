"""The fetcher alone: where it goes, where it does not, and what it brings. Names are looked up in a table."""

import asyncio
import gzip
import socket
import ssl
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import uvloop

from homeport import __version__
from homeport.backends.fetcher import LONGEST_URL, MOST_REDIRECTS, Fetched, Fetcher, NotFetched
from homeport.settings import Fetch
from tests.fake_upstream import Behaviour, FakeUpstream, Visit, chunked, dead_port, fake_upstream, head, until, whole
from tests.upstreams import faults
from tests.upstreams.test_tls import certificate

PNG = b"\x89PNG\r\n\x1a\n and some pixels"
JPEG = b"\xff\xd8\xff\xe0 and some pixels"
GIF = b"GIF89a and some pixels"
WEBP = b"RIFF\x0a\x00\x00\x00WEBPVP8 and some pixels"
SVG = b'<svg xmlns="http://www.w3.org/2000/svg"/>'


class Names:
    """A name server. table: host -> its addresses; several answers in a row are given in turn, the last one stays."""

    def __init__(self, **table: Sequence[Sequence[str]]) -> None:
        self.table = {f"{name}.test": list(answers) for name, answers in table.items()}
        self.asked: list[str] = []

    async def __call__(self, host: str, port: int) -> Sequence[str]:
        self.asked.append(host)
        answers = self.table.get(host)
        if answers is None:
            raise OSError("no such name")
        return answers.pop(0) if len(answers) > 1 else answers[0]


@pytest.fixture
def web() -> Iterator[FakeUpstream]:
    with fake_upstream() as fake:
        yield fake
        assert until(lambda: fake.open == 0), "a connection leaks"


@pytest.fixture
def names() -> Names:
    return Names(web=[["127.0.0.1"]], inside=[["10.0.0.1"]])


def get(url: str, names: Names | None = None, *, allow: Sequence[str] = (), **settings: Any) -> Fetched:
    chosen = Fetch(allow=tuple(allow), **{"seconds": 5.0, **settings})
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(Fetcher(chosen, resolve=names).get(url))


def refused(url: str, names: Names | None = None, **arguments: Any) -> NotFetched:
    with pytest.raises(NotFetched) as caught:
        get(url, names, **arguments)
    return caught.value


def here(web: FakeUpstream) -> list[str]:
    return [f"127.0.0.1:{web.port}"]


def sending(body: bytes, content_type: str = "image/png", **headers: str) -> Behaviour:
    return lambda visit: visit.send(whole(body, 200, content_type, **headers))


def redirecting(location: str, status: int = 302) -> Behaviour:
    return lambda visit: visit.send(whole(b"elsewhere", status, location=location))


# What comes back


@pytest.mark.parametrize(
    ("body", "media_type"), [(PNG, "image/png"), (JPEG, "image/jpeg"), (GIF, "image/gif"), (WEBP, "image/webp")]
)
def test_an_image_is_what_its_bytes_are(web: FakeUpstream, names: Names, body: bytes, media_type: str) -> None:
    web.script.append(sending(body, "text/html"))
    assert get(f"http://web.test:{web.port}/a", names, allow=here(web)) == (media_type, body)


def test_what_is_sent(web: FakeUpstream, names: Names) -> None:
    web.script.append(sending(PNG))
    get(f"HTTP://WEB.test:{web.port}?size=1&sig=a%2Fb#part", names, allow=here(web))
    (visit,) = web.received
    assert (visit.method, visit.path, visit.body) == ("GET", "/?size=1&sig=a%2Fb", b"")
    assert visit.headers == {
        "host": f"web.test:{web.port}",
        "accept-encoding": "identity",
        "user-agent": f"homeport/{__version__}",
        "accept": "image/png,image/jpeg,image/gif,image/webp",
        "content-length": "0",
    }


@pytest.mark.parametrize(
    ("behaviour", "words"),
    [
        (sending(SVG, "image/svg+xml"), "no PNG, JPEG, GIF or WebP"),
        (sending(b"<html>", "image/png"), "no PNG, JPEG, GIF or WebP"),
        (sending(b""), "no PNG, JPEG, GIF or WebP"),
        (sending(b"RIFF\x0a\x00\x00\x00WAVEfmt "), "no PNG, JPEG, GIF or WebP"),
        (sending(b" " + PNG), "no PNG, JPEG, GIF or WebP"),
        (sending(gzip.compress(PNG), content_encoding="gzip"), "compressed"),
        (sending(PNG, content_encoding="br"), "compressed"),
        (faults.status(404), "status 404"),
        (faults.status(500), "status 500"),
        (faults.status(206), "status 206"),
    ],
)
def test_what_is_no_image(web: FakeUpstream, names: Names, behaviour: Behaviour, words: str) -> None:
    web.script.append(behaviour)
    assert words in str(refused(f"http://web.test:{web.port}/a", names, allow=here(web)))


def test_one_that_is_too_large_is_not_read(web: FakeUpstream, names: Names) -> None:
    def boast(visit: Visit) -> None:
        visit.send(head(content_length=str(2**20 + 1)) + PNG)
        visit.wait_until_left()

    web.script.append(boast)
    problem = refused(f"http://web.test:{web.port}/a", names, allow=here(web), max_mb=1)
    assert "larger than 1 MiB" in str(problem)


def test_one_that_never_ends(web: FakeUpstream, names: Names) -> None:
    web.script.append(faults.endless(head(transfer_encoding="chunked"), chunked(PNG * 1000)))
    assert "larger than 1 MiB" in str(refused(f"http://web.test:{web.port}/a", names, allow=here(web), max_mb=1))
    assert until(web.received[0].left.is_set)


def test_one_of_exactly_the_most(web: FakeUpstream, names: Names) -> None:
    image = PNG.ljust(2**20, b"x")
    web.script.append(sending(image))
    assert get(f"http://web.test:{web.port}/a", names, allow=here(web), max_mb=1).body == image


# Where it does not go


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1",
        "localhost",
        "LocalHost",
        "127.1",
        "0x7f.1",
        "0177.0.0.1",
        "2130706433",
        "0x7f000001",
        "017700000001",
        "0",
        "0.0.0.0",
        "１２７.0.0.1",
        "127。0。0。1",
        "[::1]",
        "[::]",
        "[::ffff:127.0.0.1]",
        "[::ffff:7f00:1]",
        "[::127.0.0.1]",
        "[64:ff9b::7f00:1]",
        "[2002:7f00:1::]",
        "169.254.169.254",
        "[fd00:ec2::254]",
    ],
)
def test_every_spelling_of_an_address_is_judged(host: str) -> None:
    """By the system's own lookup."""
    problem = refused(f"http://{host}/latest/meta-data")
    assert "is refused" in problem.reason
    assert "cannot be fetched" in str(problem)


def test_one_address_inside_is_enough_to_refuse(web: FakeUpstream) -> None:
    for answer in (["127.0.0.1", "10.0.0.1"], ["10.0.0.1", "127.0.0.1"]):
        problem = refused(f"http://mixed.test:{web.port}/a", Names(mixed=[answer]), allow=here(web))
        assert "10.0.0.1" in problem.reason
    assert web.connections == 0


def test_a_name_is_looked_up_once_and_its_address_dialled(web: FakeUpstream) -> None:
    """DNS rebinding: the name means something else as soon as it has been judged."""
    names = Names(rebound=[["127.0.0.1"], ["169.254.169.254"]])
    web.script.append(sending(PNG))
    assert get(f"http://rebound.test:{web.port}/a", names, allow=here(web)).body == PNG
    assert names.asked == ["rebound.test"]
    assert web.received[0].headers["host"] == f"rebound.test:{web.port}"


def test_a_name_is_judged_again_when_it_is_redirected_to(web: FakeUpstream) -> None:
    names = Names(rebound=[["127.0.0.1"], ["169.254.169.254"]])
    web.script.extend([redirecting("/b"), sending(PNG)])
    problem = refused(f"http://rebound.test:{web.port}/a", names, allow=here(web))
    assert "169.254.169.254" in problem.reason
    assert len(web.received) == 1


def test_other_ports_need_a_word(web: FakeUpstream, names: Names) -> None:
    problem = refused(f"http://web.test:{web.port}/a", names, allow=["127.0.0.0/8", "web.test"])
    assert f"port {web.port}" in problem.reason
    assert web.connections == 0


def test_a_host_can_be_let_through(web: FakeUpstream) -> None:
    web.script.append(sending(PNG))
    names = Names(web=[["127.0.0.1"]])
    assert get(f"http://web.test:{web.port}/a", names, allow=[f"web.test:{web.port}"]).body == PNG


def test_the_next_address_when_one_does_not_answer(web: FakeUpstream) -> None:
    names = Names(two=[["127.0.0.2", "127.0.0.1"]])
    web.script.append(sending(PNG))
    allow = [*here(web), f"127.0.0.2:{web.port}"]
    assert get(f"http://two.test:{web.port}/a", names, allow=allow).body == PNG


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("", "begins with"),
        ("picture.png", "begins with"),
        ("//web.test/a", "begins with"),
        ("ftp://web.test/a", "begins with"),
        ("file:///etc/passwd", "begins with"),
        ("gopher://127.0.0.1:6379/_FLUSHALL", "begins with"),
        (" http://web.test/a", "begins with"),
        ("http:web.test/a", "begins with"),
        ("http://web.test/" + "a" * LONGEST_URL, "begins with"),
        ("http://user:password@web.test/", "user name or a password"),
        ("http://web.test@10.0.0.1/", "user name or a password"),
        ("http://web.test\\@10.0.0.1/", "user name or a password"),
        ("http:///a", "no host"),
        ("http://", "no host"),
        ("http://:80/", "no host"),
        ("http://web.test:99999/", "no host or port"),
        ("http://web.test:8o/", "no host or port"),
        ("http://web.test:80:80/", "no host or port"),
        ("http://web..test/", "no host"),
        ("http://web%2etest/", "no host"),
        ("http://web.test\\.evil.test/", "no host"),
        ("http://web.test\r\nX-A: b/", "no host"),
        ("http://[::1/", "no host"),
        ("http://[fe80::1%25eth0]/", "no host"),
        ("http://[fe80::1%eth0]/", "no host"),
        ("http://stra\u00dfe.test/", "no host"),
        ("http://a\u2100b.test/", "no host"),
        ("http://" + "a." * 200 + "test/", "no host"),
        ("http://web.test/a b", "Percent-encode"),
        ("http://web.test/\u00fc", "Percent-encode"),
        ("http://web.test/\r\nX-A: b", "Percent-encode"),
        ("http://web.test/?\x00", "Percent-encode"),
        ("http://web.test/\tb", "Percent-encode"),
    ],
)
def test_what_is_no_url_for_an_image(names: Names, url: str, words: str) -> None:
    problem = refused(url, names)
    assert words in str(problem)
    assert "data URL" in str(problem)
    assert names.asked == []


def test_an_international_name(web: FakeUpstream) -> None:
    names = Names()
    names.table["xn--grn-ioa.test"] = [["127.0.0.1"]]
    web.script.append(sending(PNG))
    assert get(f"http://GR\u00dcN.test:{web.port}/a", names, allow=here(web)).body == PNG
    assert web.received[0].headers["host"] == f"xn--grn-ioa.test:{web.port}"


# Redirects


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_is_followed(web: FakeUpstream, names: Names, status: int) -> None:
    names.table["other.test"] = [["127.0.0.1"]]
    web.script.extend([redirecting(f"http://other.test:{web.port}/b?c#d", status), sending(PNG)])
    assert get(f"http://web.test:{web.port}/a", names, allow=here(web)).body == PNG
    assert [(visit.path, visit.headers["host"].partition(":")[0]) for visit in web.received] == [
        ("/a", "web.test"),
        ("/b?c", "other.test"),
    ]


@pytest.mark.parametrize(
    ("location", "path"), [("c", "/a/c"), ("../c?d", "/c?d"), ("?d", "/a/b?d"), ("//web.test:PORT/e", "/e")]
)
def test_a_relative_redirect(web: FakeUpstream, names: Names, location: str, path: str) -> None:
    web.script.extend([redirecting(location.replace("PORT", str(web.port))), sending(PNG)])
    get(f"http://web.test:{web.port}/a/b", names, allow=here(web))
    assert web.received[1].path == path


@pytest.mark.parametrize(
    "location",
    [
        "http://169.254.169.254/latest/meta-data",
        "http://inside.test/",
        "http://[::ffff:a9fe:a9fe]/",
        "//127.0.0.1/",
        "http://web.test:22/",
    ],
)
def test_a_redirect_is_judged_as_well(web: FakeUpstream, names: Names, location: str) -> None:
    for host in ("169.254.169.254", "127.0.0.1", "::ffff:a9fe:a9fe"):
        names.table[host] = [[host]]
    web.script.append(redirecting(location))
    problem = refused(f"http://web.test:{web.port}/a", names, allow=here(web))
    assert "is refused" in problem.reason
    assert "cannot be fetched" in str(problem)
    assert web.connections == 1


@pytest.mark.parametrize(
    "location",
    ["", "file:///etc/passwd", "ftp://web.test/", "http://a:b@web.test/", "http://web.test/ b", "http://[/"],
)
def test_a_redirect_to_what_is_no_url(web: FakeUpstream, names: Names, location: str) -> None:
    web.script.append(redirecting(location))
    assert "redirects to what is no URL" in str(refused(f"http://web.test:{web.port}/a", names, allow=here(web)))


def test_a_redirect_to_nowhere(web: FakeUpstream, names: Names) -> None:
    web.script.append(faults.status(302))
    assert "redirects to what is no URL" in str(refused(f"http://web.test:{web.port}/a", names, allow=here(web)))


def test_as_many_redirects_as_are_followed(web: FakeUpstream, names: Names) -> None:
    web.script.extend([*[redirecting("/again")] * MOST_REDIRECTS, sending(PNG)])
    assert get(f"http://web.test:{web.port}/a", names, allow=here(web)).body == PNG


def test_redirects_in_a_circle(web: FakeUpstream, names: Names) -> None:
    web.script.extend([redirecting("/again")] * 20)
    problem = refused(f"http://web.test:{web.port}/again", names, allow=here(web))
    assert f"more than {MOST_REDIRECTS} times" in str(problem)
    assert len(web.received) == MOST_REDIRECTS + 1


# TLS


@pytest.fixture
def secure(tmp_path: Path) -> Iterator[tuple[FakeUpstream, str]]:
    """A server whose certificate is for `web.test`, and the file to trust it by."""
    pem = certificate(tmp_path, "web.test")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pem)
    with fake_upstream(context) as fake:
        yield fake, str(pem)


def test_tls_checks_the_name_of_the_url(secure: tuple[FakeUpstream, str], names: Names) -> None:
    web, pem = secure
    names.table["other.test"] = [["127.0.0.1"]]
    web.script.append(sending(PNG))
    assert get(f"https://web.test:{web.port}/a", names, allow=here(web), ca_file=pem).body == PNG
    problem = refused(f"https://other.test:{web.port}/a", names, allow=here(web), ca_file=pem)
    assert "its certificate is not trusted" in problem.reason
    problem = refused(f"https://web.test:{web.port}/a", names, allow=here(web))
    assert "its certificate is not trusted" in problem.reason
    assert len(web.received) == 1


def test_no_redirect_from_https_to_http(secure: tuple[FakeUpstream, str], web: FakeUpstream, names: Names) -> None:
    far, pem = secure
    far.script.append(redirecting(f"http://web.test:{web.port}/a"))
    problem = refused(f"https://web.test:{far.port}/a", names, allow=[*here(far), *here(web)], ca_file=pem)
    assert "from https to http" in str(problem)
    assert web.connections == 0


def test_the_next_address_when_one_is_silent(secure: tuple[FakeUpstream, str], names: Names) -> None:
    web, pem = secure
    names.table["web.test"] = [["127.0.0.2", "127.0.0.1"]]
    web.script.append(sending(PNG))
    with socket.create_server(("127.0.0.2", web.port)):
        allow = [f"127.0.0.0/8:{web.port}"]
        assert get(f"https://web.test:{web.port}/a", names, allow=allow, ca_file=pem, seconds=2.0).body == PNG


# Time


def drip(visit: Visit) -> None:
    visit.send(head(content_length="1000000") + PNG)
    while True:
        time.sleep(0.02)
        visit.send(b"x")


def slow_redirect(visit: Visit) -> None:
    time.sleep(0.15)
    redirecting("/again")(visit)


@pytest.mark.parametrize(
    "behaviours", [[faults.silence], [drip], [slow_redirect] * 10], ids=["silence", "drip", "redirects"]
)
def test_there_is_one_deadline_for_all_of_it(web: FakeUpstream, names: Names, behaviours: list[Behaviour]) -> None:
    web.script.extend(behaviours)
    problem = refused(f"http://web.test:{web.port}/a", names, allow=here(web), seconds=0.4)
    assert "it took longer than 0.4 s" in problem.reason


def test_a_lookup_that_takes_too_long() -> None:
    async def never(host: str, port: int) -> Sequence[str]:
        await asyncio.Event().wait()
        return []

    with pytest.raises(NotFetched) as caught, asyncio.Runner() as runner:
        runner.run(Fetcher(Fetch(seconds=0.05), resolve=never).get("http://slow.test/"))
    assert "took longer" in caught.value.reason


def test_whoever_leaves_takes_the_connection_along(web: FakeUpstream, names: Names) -> None:
    async def leave() -> None:
        fetcher = Fetcher(Fetch(allow=tuple(here(web))), resolve=names)
        fetching = asyncio.ensure_future(fetcher.get(f"http://web.test:{web.port}/a"))
        assert await asyncio.to_thread(until, lambda: bool(web.received))
        fetching.cancel()
        with pytest.raises(asyncio.CancelledError):
            await fetching

    web.script.append(faults.silence)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(leave())
    assert until(web.received[0].left.is_set)


# What whoever asks can find out


def test_one_message_for_all_that_cannot_be_reached(
    web: FakeUpstream, secure: tuple[FakeUpstream, str], names: Names
) -> None:
    """Else the fetcher would scan networks for whoever asks it."""
    dead, (tls, _) = dead_port(), secure
    names.table["slow.test"] = [["127.0.0.1"]]
    allow = [*here(web), *here(tls), f"127.0.0.1:{dead}"]
    web.script.extend([faults.silence, faults.hang_up, faults.raw(b"SSH-2.0-OpenSSH_9.6\r\n")])
    urls = [
        f"http://slow.test:{web.port}/",
        f"http://web.test:{web.port}/hangs-up",
        f"http://web.test:{web.port}/ssh",
        f"http://web.test:{dead}/",
        f"https://web.test:{tls.port}/",
        "http://inside.test/",
        "http://unknown.test/",
        "http://web.test:22/",
    ]
    problems = [refused(url, names, allow=allow, seconds=0.5) for url in urls]
    assert len({str(problem) for problem in problems}) == 1
    assert len({problem.reason for problem in problems}) == len(urls)
    assert "10.0.0.1" not in str(problems[0])


def test_the_reason_for_the_log_has_only_the_origin(names: Names) -> None:
    problem = refused("https://inside.test/path-1?signature=secret-1", names)
    assert problem.reason.startswith("https://inside.test: 10.0.0.1, port 443,")
    assert "path-1" not in problem.reason + str(problem)
    assert "secret-1" not in problem.reason + str(problem)


@pytest.mark.parametrize("work", [lambda: Fetcher(Fetch(allow=("10.0.0.1/8",))), lambda: Fetcher(Fetch(ca_file="/no"))])
def test_settings_that_cannot_be_used(work: Callable[[], Awaitable[None]]) -> None:
    with pytest.raises(ValueError, match="10.0.0.1/8|ca_file"):
        work()
