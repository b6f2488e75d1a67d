"""What stands between a client and whoever hears or speaks for it, as for chat: the cache, recordings, faults on
request, idempotency keys, limits, batches; and forms that are none."""

import json
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import openai
import pytest

from homeport import records
from tests import batches
from tests.api import forms, raw
from tests.api.forms import part, post
from tests.fake_upstream import SOUND, SUBTITLES, TEXT, Visit, answer_well, chunked, dead_port, head, until, whole
from tests.server import KEY, Running, running
from tests.upstreams.homeports import Relay, relaying

TRANSCRIPTIONS = "/v1/audio/transcriptions"
SPEECH = "/v1/audio/speech"
FILE = b"OggS" + bytes(range(256)) * 40
MODEL = part('name="model"', b"far")
SENT = part('name="file"; filename="a.ogg"', FILE)
ON = {"x-homeport-cache": "on"}


@pytest.fixture(scope="module")
def relay(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Relay]:
    settings = {
        "faults": {"allowed": True},
        "prices": {"priced-tts": {"per_million_characters": "1"}},
        "tiers": {"narrow": {"default": {"max_audio_megabytes_per_1_minute": 1}}},
    }
    with relaying(tmp_path_factory.mktemp("steps"), settings) as made:
        yield made


def hear(
    server: Running,
    model: str,
    *,
    headers: dict[str, str] | None = None,
    file: bytes = FILE,
    filename: str = "a.ogg",
    key: str = KEY,
    **fields: Any,
) -> raw.Answer:
    sent = [part(f'name="{name}"', value.encode()) for name, value in {"model": model, **fields}.items()]
    named = part(f'name="file"; filename="{filename}"', file)
    return post(server, [*sent, named], TRANSCRIPTIONS, key=key, **(headers or {}))


def say(server: Running, model: str, *, headers: Any = None, **fields: Any) -> raw.Answer:
    body = {"model": model, "voice": "alloy", "input": "hello", **fields}
    return raw.ask(server, "POST", SPEECH, body, headers)


def told(answer: raw.Answer) -> str | None:
    return answer.headers.get("x-homeport-cache")


# the cache


@pytest.mark.parametrize("fields", [{}, {"response_format": "srt"}, {"stream": "true"}], ids=str)
def test_what_was_heard_is_given_again(relay: Relay, fields: Any) -> None:
    model = f"again-{len(fields)}-{fields.get('stream')}"
    first = hear(relay.homeport, model, headers=ON, **fields)
    again = hear(relay.homeport, model, headers=ON, filename="another name.mp3", **fields)
    assert (told(first), told(again)) == ("miss", "hit")
    assert (again.body, again.headers["content-type"]) == (first.body, first.headers["content-type"])
    assert len(relay.fake.received_for(model)) == 1


@pytest.mark.parametrize("changed", [{"file": FILE + b"."}, {"language": "de"}, {"response_format": "text"}], ids=str)
def test_another_file_or_field_is_another_question(relay: Relay, changed: dict[str, Any]) -> None:
    assert told(hear(relay.homeport, "other", headers=ON)) in ("miss", "hit")
    assert told(hear(relay.homeport, "other", headers=ON, **changed)) == "miss"


def test_what_was_spoken_is_given_again_as_sound_and_costs_nothing(relay: Relay) -> None:
    first = say(relay.homeport, "priced-tts", headers=ON)
    again = say(relay.homeport, "priced-tts", headers=ON)
    assert (told(first), told(again)) == ("miss", "hit")
    assert first.body == again.body == SOUND
    assert again.headers["content-type"] == "audio/mpeg"
    paid, free = relay.rows("priced-tts", 2)
    assert (paid["cost_pico"], free["cost_pico"], free["saved_pico"]) == (5_000_000, 0, 5_000_000)
    assert told(say(relay.homeport, "priced-tts", headers=ON, input="hello!")) == "miss"
    assert told(say(relay.homeport, "priced-tts", headers=ON, voice="echo")) == "miss"


def test_sound_that_was_cut_is_not_kept(relay: Relay) -> None:
    def cut(visit: Visit) -> None:
        visit.send(head(content_type="audio/mpeg", content_length=str(len(SOUND))) + SOUND[:5000])
        visit.close()

    relay.fake.by_model["cut-tts"] = cut
    with pytest.raises(Exception, match="IncompleteRead"):
        say(relay.homeport, "cut-tts", headers=ON)
    del relay.fake.by_model["cut-tts"]
    assert told(say(relay.homeport, "cut-tts", headers=ON)) == "miss"


def test_equal_requests_are_heard_once_though_the_first_client_leaves(tmp_path: Path) -> None:
    """Its file is gone with it, and the upstream is asked once more: what flies has a file of its own."""
    come, opened = threading.Event(), threading.Event()

    def slow(visit: Visit) -> None:
        come.set()
        assert opened.wait(60)
        visit.send(whole(b'{"error": {"message": "down"}}', 503))

    body = forms.body([MODEL, part('name="file"; filename="a"', FILE)])
    with relaying(tmp_path, retries=1, wait_seconds=5) as relay, ThreadPoolExecutor(1) as pool:
        cache = relay.homeport.app.cache
        assert cache is not None
        relay.fake.script.append(slow)
        with raw.connect(relay.homeport) as connection:
            connection.sendall(top(len(body), "x-homeport-cache: on\r\n") + body)
            assert come.wait(60)
            second = pool.submit(hear, relay.homeport, "far", headers=ON)
            assert until(lambda: cache.told()["running"] == 2)
        assert until(lambda: cache.told()["running"] == 1)
        opened.set()
        assert second.result(20).json["text"] == TEXT
        assert [visit.sound for visit in relay.fake.received] == [FILE, FILE]
        assert until(lambda: staged(relay.homeport) == [])


def top(length: int, more: str = "") -> bytes:
    """Of a form, by hand."""
    lines = f"POST {TRANSCRIPTIONS} HTTP/1.1\r\nHost: test\r\nAuthorization: Bearer {KEY}\r\n{more}"
    kind = f"multipart/form-data; boundary={forms.BOUNDARY.decode()}"
    return f"{lines}Content-Type: {kind}\r\nContent-Length: {length}\r\n\r\n".encode()


def staged(server: Running) -> list[Path]:
    """Files of requests that are under way."""
    return list(server.app.durable.blobs._staging.iterdir())


# recordings


@pytest.mark.parametrize("kind", ["plain", "srt", "events", "sound"])
def test_what_was_recorded_is_given_again_to_the_byte(tmp_path: Path, kind: str) -> None:
    def ask(server: Running, filename: str) -> raw.Answer:
        if kind == "sound":
            return say(server, "far-tts")
        fields: Any = {"srt": {"response_format": "srt"}, "events": {"stream": "true"}}.get(kind, {})
        return hear(server, "far-model", filename=filename, **fields)

    tapes = tmp_path / "tapes"
    with relaying(tmp_path / "a", {"recording": {"record": str(tapes)}}) as relay:
        first = ask(relay.homeport, "secret name.ogg")
    (tape,) = tapes.glob("*/*.json")
    assert "secret name" not in tape.read_text()
    shown = records.shown(tape)
    assert {"sound": "bytes of audio/mpeg", "srt": SUBTITLES}.get(kind, "Grüße") in shown
    gone = {"far": {"base_url": f"http://127.0.0.1:{dead_port()}/v1", "api_key": "sk-none"}}
    with running(tmp_path / "b", {"recording": {"replay": str(tapes), "speed": 0}, "upstreams": gone}) as homeport:
        again = ask(homeport, "b.mp3")
        assert "x-homeport-replay" in again.headers
        missing = hear(homeport, "far-model", file=FILE + b".")
    assert (again.status, again.body) == (200, first.body)
    assert again.headers["content-type"] == first.headers["content-type"]
    assert missing.status == 404
    if kind in ("plain", "srt", "events"):
        assert "file.bytes" in missing.error["message"]


# faults on request


def test_faults(relay: Relay) -> None:
    for fault, status in (("429", 429), ("500", 500), ("503", 503)):
        assert say(relay.homeport, "m", headers={"x-homeport-fault": fault}).status == status
        assert hear(relay.homeport, "m", headers={"x-homeport-fault": fault}).status == status
    assert say(relay.homeport, "m", headers={"x-homeport-fault": "slow=0.01;gap=0.01"}).body == SOUND
    with pytest.raises(Exception, match="IncompleteRead"):
        say(relay.homeport, "m", headers={"x-homeport-fault": "cut;after=1"})
    with pytest.raises(Exception, match="IncompleteRead"):
        hear(relay.homeport, "m", headers={"x-homeport-fault": "cut"})


# idempotency keys


def test_the_same_twice_is_asked_once(relay: Relay) -> None:
    first, again = (say(relay.homeport, "once-tts", headers={"idempotency-key": "s"}) for _ in range(2))
    assert first.body == again.body == SOUND
    assert again.headers["content-type"] == "audio/mpeg"
    assert again.headers["idempotent-replayed"] == "true"
    asked: list[Any] = [{}, {"response_format": "srt"}, {"stream": "true"}]
    for fields in asked:
        key = {"idempotency-key": f"h{fields}"}
        first, again = (hear(relay.homeport, "once", headers=key, **fields) for _ in range(2))
        assert (again.body, again.headers["content-type"]) == (first.body, first.headers["content-type"])
        assert again.headers["idempotent-replayed"] == "true"
    other = hear(relay.homeport, "once", headers={"idempotency-key": "h{}"}, file=FILE + b".")
    assert (other.status, other.error["code"]) == (400, "idempotency_key_reused")
    assert len(relay.fake.received_for("once-tts")) == 1
    assert len(relay.fake.received_for("once")) == 3


def test_sound_that_is_cut_may_be_asked_for_again(relay: Relay) -> None:
    def cut(visit: Visit) -> None:
        visit.send(head(content_type="audio/mpeg", transfer_encoding="chunked") + chunked(SOUND[:5000]))
        visit.close()

    relay.fake.by_model["cut-once"] = cut
    with pytest.raises(Exception, match="IncompleteRead"):
        say(relay.homeport, "cut-once", headers={"idempotency-key": "c"})
    del relay.fake.by_model["cut-once"]
    assert say(relay.homeport, "cut-once", headers={"idempotency-key": "c"}).body == SOUND


# limits


def test_megabytes_of_audio_are_limited(relay: Relay) -> None:
    with openai.OpenAI(admin_api_key=KEY, api_key=KEY, base_url=relay.homeport.base_url, max_retries=0) as client:
        project = client.admin.organization.projects.create(name="quiet").id
        client.admin.organization.projects.rate_limits.update_rate_limit(
            "rl-whisper-1", project_id=project, max_audio_megabytes_per_1_minute=1, max_requests_per_1_minute=50
        )
        client.admin.organization.projects.rate_limits.update_rate_limit(
            "rl-tts-1", project_id=project, max_requests_per_1_minute=7
        )
    key = raw.ask(relay.homeport, "POST", f"/v1/homeport/projects/{project}/api_keys", {"name": "k"}).json["value"]
    assert until(lambda: raw.ask(relay.homeport, "GET", "/v1/models", key=key).status == 200)
    large = FILE[:4] + bytes(899_996)
    first = hear(relay.homeport, "whisper-1", file=large, key=key)
    assert first.status == 200
    assert first.headers["x-ratelimit-limit-requests"] == "50"
    second = hear(relay.homeport, "whisper-1", file=large, key=key)
    assert second.status == 429
    assert "audio megabytes per min: Limit 1, Used 1, Requested 0.9" in second.error["message"]
    too_large = hear(relay.homeport, "whisper-1", file=large * 2, key=key)
    assert "Request too large" in too_large.error["message"]
    form = [part('name="model"', b"whisper-1"), SENT]
    translated = post(relay.homeport, form, "/v1/audio/translations", key=key)
    assert translated.headers["x-ratelimit-limit-requests"] == "50"
    spoken = raw.ask(relay.homeport, "POST", SPEECH, {"model": "tts-1", "voice": "alloy", "input": "a"}, key=key)
    assert spoken.headers["x-ratelimit-limit-requests"] == "7"


# batches


def test_audio_is_nothing_for_batches(relay: Relay) -> None:
    with relay.client() as client, pytest.raises(openai.BadRequestError) as refused:
        batches.create(client, [batches.chat(1)], endpoint=TRANSCRIPTIONS)
    assert refused.value.param == "endpoint"


# forms that are none


def refused(relay: Relay, parts: list[bytes], status: int = 400) -> Any:
    before = len(relay.fake.received)
    answer = post(relay.homeport, parts, TRANSCRIPTIONS)
    assert (answer.status, answer.error["type"]) == (status, "invalid_request_error")
    assert len(relay.fake.received) == before
    assert until(lambda: staged(relay.homeport) == [])
    return answer.error


def test_hostile_forms(relay: Relay) -> None:
    assert refused(relay, [MODEL])["param"] == "file"
    assert refused(relay, [SENT])["param"] == "model"
    assert refused(relay, [MODEL, SENT, SENT])["param"] == "file"
    assert refused(relay, [MODEL, MODEL, SENT])["param"] == "model"
    assert refused(relay, [MODEL, part('name="file"; filename="a.ogg"', b"")])["param"] == "file"
    assert refused(relay, [MODEL, SENT, part('name="temperature"', b"hot")])["param"] == "temperature"
    assert refused(relay, [MODEL, SENT, part('name="stream"', b"maybe")])["param"] == "stream"
    assert refused(relay, [MODEL, SENT, part('name="model[x]"', b"far")])["param"] == "model"
    assert "Unrecognized" in refused(relay, [MODEL, SENT, part('name="other"; filename="b"', FILE)])["message"]
    assert "Unrecognized" in refused(relay, [MODEL, SENT, part('name="a b"', b"c")])["message"]
    many = [part(f'name="x{number}"', b"1") for number in range(129)]
    assert "more than 128 fields" in refused(relay, [MODEL, SENT, *many])["message"]
    large = part('name="known_speaker_references[]"', b"data:audio/wav;base64," + b"A" * 2**22)
    assert "bytes, without the files" in refused(relay, [MODEL, SENT, large])["message"]


def test_voices_of_speakers_fit_into_a_form(relay: Relay) -> None:
    voice = b"data:audio/wav;base64," + b"A" * 400_000
    voices = [part('name="known_speaker_references[]"', voice)] * 4
    names = [part('name="known_speaker_names[]"', name) for name in (b"Ada", b"Bo", b"Cy", b"Di")]
    answer = post(relay.homeport, [MODEL, *names, *voices, SENT], TRANSCRIPTIONS)
    assert answer.status == 200, answer.body
    assert relay.fake.received[-1].json["known_speaker_references[]"] == [voice.decode()] * 4


def test_a_form_that_ends_in_the_middle_leaves_nothing(relay: Relay) -> None:
    before = len(relay.fake.received)
    answer = post(relay.homeport, forms.body([MODEL, SENT])[:-60], TRANSCRIPTIONS)
    assert answer.status == 400
    large = forms.body([MODEL, part('name="file"; filename="a"', bytes(2_000_000))])
    with raw.connect(relay.homeport) as connection:
        connection.sendall(top(3_000_000) + large[:-60])
        assert until(lambda: any(path.stat().st_size >= 2**20 for path in staged(relay.homeport)))  # it is on its way
    assert until(lambda: staged(relay.homeport) == [])
    assert len(relay.fake.received) == before


def test_json_is_no_form_and_a_form_no_json(relay: Relay) -> None:
    answer = raw.ask(relay.homeport, "POST", TRANSCRIPTIONS, {"model": "far", "file": "a"})
    assert (answer.status, answer.error["code"]) == (400, "unsupported_content_type")
    assert post(relay.homeport, [MODEL], SPEECH).status in (400, 415)


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"input": 7, "voice": "alloy"}, None),
        ({"input": "hello"}, None),
    ],
)
def test_what_an_upstream_judges_goes_there(relay: Relay, body: Any, param: None) -> None:
    """Its refusal is the answer; here nobody knows its voices."""
    refusal = {"error": {"message": "No.", "type": "invalid_request_error", "param": "input", "code": None}}
    raw_refusal = json.dumps(refusal).encode()
    relay.fake.by_model["judge"] = lambda visit: visit.send(
        head(400, content_type="application/json", content_length=str(len(raw_refusal))) + raw_refusal
    )
    answer = raw.ask(relay.homeport, "POST", SPEECH, {"model": "judge", **body})
    assert (answer.status, answer.error["param"]) == (400, "input")


# Azure's dialect, on both sides


def test_azure_to_azure(tmp_path: Path) -> None:
    upstream = {"kind": "azure", "base_url": None, "api_version": "2024-10-21"}
    with relaying(tmp_path / "plain") as far:
        azure = {**upstream, "base_url": far.fake.url, "api_key": "azure-key", "retries": 0}
        with running(tmp_path / "azure", {"upstreams": {"az": azure}}) as homeport:
            prefix = "/openai/deployments/my dep".replace(" ", "%20")
            headers = {"api-key": KEY, "Authorization": None}
            path = f"{prefix}/audio/transcriptions?api-version=2024-10-21"
            form = forms.body([part('name="response_format"', b"srt"), SENT])
            kind = f"multipart/form-data; boundary={forms.BOUNDARY.decode()}"
            heard = raw.ask(homeport, "POST", path, form, {**headers, "Content-Type": kind})
            assert heard.body.decode() == SUBTITLES
            assert heard.headers["content-type"].startswith("text/plain")
            visit = far.fake.received[-1]
            assert visit.path == "/openai/deployments/my%20dep/audio/transcriptions?api-version=2024-10-21"
            assert visit.headers["api-key"] == "azure-key"
            assert visit.sound == FILE
            path = f"{prefix}/audio/speech?api-version=2024-10-21"
            spoken = raw.ask(homeport, "POST", path, {"voice": "alloy", "input": "hello"}, headers)
            assert spoken.body == SOUND
            assert far.fake.received[-1].path.startswith("/openai/deployments/my%20dep/audio/speech?")


def test_retries_send_the_file_again(tmp_path: Path) -> None:
    with relaying(tmp_path, {}, retries=2, wait_seconds=5) as relay:
        broken = b'{"error": {"message": "down"}}'
        down = head(503, content_type="application/json", content_length=str(len(broken))) + broken
        relay.fake.script.extend([lambda visit: visit.send(down), answer_well])
        assert hear(relay.homeport, "far").status == 200
        assert [visit.sound for visit in relay.fake.received] == [FILE, FILE]
