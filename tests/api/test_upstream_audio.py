"""Audio through a whole Homeport to an upstream: what goes there, what comes back, what it is counted as."""

import json
import socket
import time
from collections.abc import Iterator
from typing import Any

import openai
import pytest

from tests import fake_upstream as fake
from tests.api import forms, raw
from tests.api.forms import part, post
from tests.fake_upstream import SOUND, TEXT, Visit, chunked, head, until, whole
from tests.server import KEY
from tests.sounds import encoded, silence
from tests.upstreams import faults
from tests.upstreams.homeports import UPSTREAM_KEY, Relay, relaying

TRANSCRIPTIONS = "/v1/audio/transcriptions"
TRANSLATIONS = "/v1/audio/translations"
SPEECH = "/v1/audio/speech"
HELLO: Any = {"model": "far-tts", "voice": "alloy", "input": "Grüße!"}


WAVE = encoded("wav", silence(2.5))


@pytest.fixture(scope="module")
def relay(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Relay]:
    settings = {"aliases": {"nick": "far-name"}}
    with relaying(tmp_path_factory.mktemp("relay"), settings) as made:
        yield made


@pytest.fixture(scope="module")
def client(relay: Relay) -> Iterator[openai.OpenAI]:
    with relay.client() as made:
        yield made


def last(relay: Relay) -> Visit:
    return relay.fake.received[-1]


def test_a_form_is_written_again(relay: Relay, client: openai.OpenAI) -> None:
    answer = client.audio.transcriptions.with_raw_response.create(
        model="nick",
        file=('naïve "name".wav', WAVE),
        language="de",
        prompt="zwei\r\nZeilen: Grüße",
        temperature=0.2,
        timestamp_granularities=["word", "segment"],
        chunking_strategy={"type": "server_vad", "threshold": 0.5},
        extra_body={"x_extra": "kept"},
    )
    visit = last(relay)
    assert visit.path == "/v1/audio/transcriptions"
    assert visit.headers["authorization"] == f"Bearer {UPSTREAM_KEY}"
    assert int(visit.headers["content-length"]) == len(visit.body)
    assert visit.json == {
        "model": "far-name",
        "language": "de",
        "prompt": "zwei\r\nZeilen: Grüße",
        "temperature": "0.2",
        "timestamp_granularities[]": ["word", "segment"],
        "chunking_strategy[type]": "server_vad",
        "chunking_strategy[threshold]": "0.5",
        "x_extra": "kept",
    }
    (file,) = (one for one in visit.parts if one.filename is not None)
    assert (file.name, file.filename, file.content) == ("file", "naïve %22name%22.wav", WAVE)
    assert file.kind == "audio/wav"
    assert answer.parse().text == TEXT
    assert answer.http_response.json()["usage"] == fake.TOKENS_HEARD


def test_what_a_name_and_an_object_hold_ends_no_header(relay: Relay) -> None:
    named = part("name=\"file\"; filename*=UTF-8''data:a/b%0D%0AX-Evil%3A%201%0D%0A%0D%0A,b.mp3", WAVE)
    strategy = part('name="chunking_strategy"', b'{"a\\"\\r\\nX-Evil: 1": 1}')
    answer = post(relay.homeport, [part('name="model"', b"far-hear"), strategy, named], TRANSCRIPTIONS)
    assert answer.status == 200
    found = {one.name: one for one in last(relay).parts}
    assert found["file"].filename == "data:a/b%0D%0AX-Evil: 1%0D%0A%0D%0A,b.mp3"
    assert found["file"].kind == "audio/mpeg"
    assert json.loads(found["chunking_strategy"].content) == {'a"\r\nX-Evil: 1': 1}


def test_a_large_file_comes_whole(relay: Relay) -> None:
    large = WAVE + bytes(range(256)) * (20 * 2**12)
    answer = post(
        relay.homeport, [part('name="model"', b"far-hear"), part('name="file"; filename="a"', large)], TRANSCRIPTIONS
    )
    assert answer.status == 200, answer.body
    assert last(relay).sound == large


@pytest.mark.parametrize("kind", ["text", "srt", "vtt"])
def test_texts_are_texts(relay: Relay, client: openai.OpenAI, kind: Any) -> None:
    answer = client.audio.transcriptions.with_raw_response.create(
        model=f"far-{kind}", file=("a.wav", WAVE), response_format=kind
    )
    assert answer.headers["content-type"] == "text/plain; charset=utf-8"
    assert answer.text == (fake.SUBTITLES if kind == "srt" else f"{TEXT}\n")
    row = relay.rows(f"far-{kind}")[-1]
    assert (row["milliseconds"], row["estimated"], row["page"]) == (2500, 0, "audio_transcriptions")  # of the file


def test_without_a_measure_the_length_is_estimated(relay: Relay) -> None:
    fields = [part('name="model"', b"far-guessed"), part('name="response_format"', b"text")]
    file = part('name="file"; filename="a"', bytes(16_000))
    assert post(relay.homeport, [*fields, file], TRANSCRIPTIONS).status == 200
    row = relay.rows("far-guessed")[-1]
    assert (row["milliseconds"], row["estimated"], row["prompt_tokens"]) == (2000, 1, 0)  # 64 kbit/s


def test_a_translation(relay: Relay) -> None:
    file = part('name="file"; filename="a.wav"', WAVE)
    answer = post(relay.homeport, [part('name="model"', b"far-english"), file], TRANSLATIONS)
    assert answer.json == {"text": TEXT}
    assert last(relay).path == "/v1/audio/translations"


def test_a_stream_of_a_transcription(relay: Relay, client: openai.OpenAI) -> None:
    events = list(client.audio.transcriptions.create(model="far-stream", file=("a.wav", WAVE), stream=True))
    assert last(relay).json["stream"] == "true"
    assert "".join(one.delta for one in events if one.type == "transcript.text.delta") == TEXT
    assert events[-1].type == "transcript.text.done"
    row = relay.rows("far-stream")[-1]
    assert (row["prompt_tokens"], row["input_audio_tokens"], row["completion_tokens"]) == (40, 35, 5)
    assert (row["outcome"], row["estimated"], row["page"]) == ("completed", 0, "audio_transcriptions")


def test_a_model_that_does_not_stream_answers_plainly(relay: Relay) -> None:
    fields = [part('name="model"', b"whisper-far"), part('name="stream"', b"true")]
    answer = post(relay.homeport, [*fields, part('name="file"; filename="a.wav"', WAVE)], TRANSCRIPTIONS)
    assert answer.headers["content-type"] == "application/json"
    assert answer.json["text"] == TEXT
    assert relay.rows("whisper-far")[-1]["milliseconds"] == 7000


def test_sound_comes_as_it_is(relay: Relay, client: openai.OpenAI) -> None:
    answer = client.audio.speech.with_raw_response.create(**HELLO)
    assert last(relay).json == HELLO
    assert answer.headers["content-type"] == "audio/mpeg"
    assert answer.content == SOUND
    row = relay.rows("far-tts")[-1]
    assert (row["characters"], row["prompt_tokens"], row["estimated"], row["page"]) == (6, 0, 0, "audio_speeches")


def test_speech_as_events(relay: Relay) -> None:
    answer = raw.ask(relay.homeport, "POST", SPEECH, {**HELLO, "model": "far-sse", "stream_format": "sse"})
    assert answer.headers["content-type"].startswith("text/event-stream")
    assert answer.body == b"".join(fake.speech_events())
    row = relay.rows("far-sse")[-1]
    assert (row["prompt_tokens"], row["output_audio_tokens"], row["characters"]) == (14, 101, 6)


@pytest.mark.parametrize(
    ("behaviour", "status", "code"),
    [
        (lambda visit: visit.send(whole(b'{"no": "text"}')), 503, "upstream_malformed"),
        (lambda visit: visit.send(whole(b"<html>", content_type="text/html")), 503, "upstream_malformed"),
        (lambda visit: visit.send(whole(b'{"text": "\xff"}')), 503, "upstream_malformed"),
        (lambda visit: visit.send(whole(b'{"error": {"message": "No.", "code": "bad"}}', 400)), 400, "bad"),
        (lambda visit: visit.send(whole(b"{}", 401)), 503, "upstream_authentication_failed"),
        (lambda visit: visit.close(), 503, "upstream_cut"),
    ],
)
def test_what_goes_wrong_with_hearing_is_said(relay: Relay, behaviour: Any, status: int, code: str) -> None:
    relay.fake.by_model["far-broken"] = behaviour
    answer = post(
        relay.homeport, [part('name="model"', b"far-broken"), part('name="file"; filename="a"', WAVE)], TRANSCRIPTIONS
    )
    assert (answer.status, answer.error["code"]) == (status, code)


@pytest.mark.parametrize("kind", ["cut", "error", "no JSON"])
def test_a_stream_that_breaks_has_an_error_event(relay: Relay, kind: str) -> None:
    more = {
        "cut": b"",
        "error": fake.event({"type": "error", "code": "busy", "message": "No more.", "param": None}),
        "no JSON": b"data: \xff\n\n",
    }[kind]

    def behave(visit: Visit) -> None:
        visit.send(fake.STREAM_HEAD)
        visit.send(chunked(b"".join(fake.transcript_events(done=False)) + more) + b"0\r\n\r\n")

    relay.fake.by_model["far-torn"] = behave
    fields = [part('name="model"', b"far-torn"), part('name="stream"', b"true")]
    answer = post(relay.homeport, [*fields, part('name="file"; filename="a"', WAVE)], TRANSCRIPTIONS)
    *deltas, error = raw.events(answer.body)
    assert "".join(one["delta"] for one in deltas) == TEXT
    assert error["error"]["code"] == {"cut": "upstream_cut", "error": "busy", "no JSON": "upstream_malformed"}[kind]


def test_sound_that_is_cut_is_no_whole_answer(relay: Relay, client: openai.OpenAI) -> None:
    def behave(visit: Visit) -> None:
        visit.send(head(content_type="audio/mpeg", content_length=str(len(SOUND))) + SOUND[:5000])
        visit.close()

    relay.fake.by_model["far-cut"] = behave
    with pytest.raises(openai.APIConnectionError):
        client.audio.speech.create(**{**HELLO, "model": "far-cut"})
    row = relay.rows("far-cut")[-1]
    assert (row["outcome"], row["characters"]) == ("failed", 6)


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        (whole(b'{"text": "hello"}'), "upstream_malformed"),
        (whole(b"", content_type="audio/mpeg"), "upstream_malformed"),
        (whole(b'{"error": {"message": "No.", "code": "bad"}}', 400), "bad"),
    ],
)
def test_what_is_no_sound_is_an_error(relay: Relay, answer: bytes, code: str) -> None:
    relay.fake.by_model["far-mute"] = lambda visit: visit.send(answer)
    assert raw.ask(relay.homeport, "POST", SPEECH, {**HELLO, "model": "far-mute"}).error["code"] == code


def test_who_leaves_is_charged_for_the_characters_and_the_upstream_is_left(relay: Relay) -> None:
    visits: list[Visit] = []

    def behave(visit: Visit) -> None:
        visits.append(visit)
        visit.send(head(content_type="audio/mpeg", transfer_encoding="chunked") + chunked(SOUND))
        visit.wait_until_left()

    relay.fake.by_model["far-left"] = behave
    with raw.connect(relay.homeport) as connection:
        connection.sendall(raw.request_bytes({**HELLO, "model": "far-left"}, path=SPEECH))
        assert b"audio/mpeg" in connection.recv(65536)
    assert until(lambda: bool(visits) and visits[0].left.is_set())
    row = relay.rows("far-left")[-1]
    assert (row["outcome"], row["characters"], row["estimated"]) == ("left", 6, 0)


def test_who_leaves_while_it_is_heard_leaves_the_upstream(relay: Relay) -> None:
    visits: list[Visit] = []

    def behave(visit: Visit) -> None:
        visits.append(visit)
        visit.wait_until_left()

    relay.fake.by_model["far-waiting"] = behave
    staging = relay.homeport.app.durable.blobs._staging
    form = forms.body([part('name="model"', b"far-waiting"), part('name="file"; filename="a"', WAVE)])
    top = f"POST {TRANSCRIPTIONS} HTTP/1.1\r\nHost: test\r\nAuthorization: Bearer {KEY}\r\n"
    top += f"Content-Type: multipart/form-data; boundary={forms.BOUNDARY.decode()}\r\nContent-Length: {len(form)}\r\n"
    with raw.connect(relay.homeport) as connection:
        connection.sendall(top.encode() + b"\r\n" + form)
        assert until(lambda: bool(visits))
        assert len(list(staging.iterdir())) == 1
    assert until(lambda: visits[0].left.is_set())
    assert until(lambda: not list(staging.iterdir()))
    row = relay.rows("far-waiting")[-1]
    assert (row["outcome"], row["milliseconds"], row["cost_pico"]) == ("left", 0, None)  # it had not begun to answer


def test_a_slow_listener_stops_the_upstream(relay: Relay) -> None:
    visits: list[Visit] = []

    def behave(visit: Visit) -> None:
        visits.append(visit)
        faults.endless(head(content_type="audio/mpeg", transfer_encoding="chunked"), chunked(SOUND))(visit)

    relay.fake.by_model["far-endless"] = behave
    with socket.socket() as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 16384)
        connection.settimeout(15)
        connection.connect(("127.0.0.1", relay.homeport.port))
        connection.sendall(raw.request_bytes({**HELLO, "model": "far-endless"}, path=SPEECH))
        assert until(lambda: bool(visits) and stands_still(visits[0]))
        assert visits[0].sent < 32 * 2**20
    assert until(lambda: visits[0].left.is_set())


def stands_still(visit: Visit) -> bool:
    before = visit.sent
    time.sleep(0.3)
    return visit.sent == before > 0


def test_it_is_on_the_pages_of_usage(relay: Relay, client: openai.OpenAI) -> None:
    client.audio.speech.create(**{**HELLO, "model": "far-page-tts"})
    client.audio.transcriptions.create(model="whisper-page", file=("a.wav", WAVE))
    relay.rows("far-page-tts")
    relay.rows("whisper-page")
    for page, model, name, count in (
        ("audio_speeches", "far-page-tts", "characters", 6),
        ("audio_transcriptions", "whisper-page", "seconds", 7),
    ):
        path = f"/v1/organization/usage/{page}?start_time={int(time.time()) - 3600}&models={model}&bucket_width=1d"
        results = [one for bucket in raw.ask(relay.homeport, "GET", path).json["data"] for one in bucket["results"]]
        assert [(one[name], one["num_model_requests"]) for one in results] == [(count, 1)]


PRICES = {
    "by-minute": {"per_minute": "0.6"},
    "by-token": {"input_audio": "10000", "input": "10000", "output": "10000"},
    "by-character": {"per_million_characters": "10000"},
    "by-audio-token": {"input": "10000", "output_audio": "10000"},
    "by-picture": {"per_image": "1"},
}


@pytest.fixture(scope="module")
def priced(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Relay]:
    with relaying(tmp_path_factory.mktemp("priced"), {"prices": PRICES}) as made:
        yield made


def new_key(relay: Relay, dollars: float) -> str:
    """Of a project with so much to spend."""
    with openai.OpenAI(admin_api_key=KEY, api_key=KEY, base_url=relay.homeport.base_url, max_retries=0) as admin:
        project = admin.admin.organization.projects.create(name="thrifty").id
    keys = f"/v1/homeport/projects/{project}/api_keys"
    key = raw.ask(relay.homeport, "POST", keys, {"name": "k"}).json
    limit = {"threshold_amount": round(dollars * 100), "currency": "USD", "interval": "total"}
    assert raw.ask(relay.homeport, "POST", f"{keys}/{key['id']}/spend_limit", limit).status == 200
    assert until(lambda: raw.ask(relay.homeport, "GET", "/v1/models", key=key["value"]).status == 200)
    value: str = key["value"]
    return value


def hear(relay: Relay, model: str, key: str, sound: bytes = WAVE, **fields: str) -> raw.Answer:
    sent = [part(f'name="{name}"', value.encode()) for name, value in {"model": model, **fields}.items()]
    return post(relay.homeport, [*sent, part('name="file"; filename="a.wav"', sound)], TRANSCRIPTIONS, key=key)


def say(relay: Relay, model: str, key: str, text: str = "x" * 10) -> raw.Answer:
    return raw.ask(relay.homeport, "POST", SPEECH, {**HELLO, "model": model, "input": text}, key=key)


def test_a_budget_reserves_the_length_and_is_settled_by_the_second(priced: Relay) -> None:
    key = new_key(priced, 0.06)  # six seconds
    for _ in range(2):
        assert hear(priced, "by-minute", key, response_format="text").status == 200  # three seconds each
    refused = hear(priced, "by-minute", key, response_format="text")
    assert (refused.status, refused.error["code"]) == (429, "insufficient_quota")
    assert [row["cost_pico"] for row in priced.rows("by-minute", 2)] == [3 * 10**10] * 2


def test_silence_that_is_packed_well_is_as_long_as_it_is(priced: Relay) -> None:
    """By its bytes it would be half a second."""
    file = encoded("ogg", silence(60))
    assert len(file) * 8 / 6000 < 30
    assert hear(priced, "by-minute", new_key(priced, 0.5), file, response_format="text").status == 429


def test_tokens_that_nobody_tells_are_guessed_where_they_alone_have_a_price(priced: Relay) -> None:
    key = new_key(priced, 100)
    assert hear(priced, "by-token", key, response_format="text").status == 200
    row = priced.rows("by-token")[-1]
    assert (row["estimated"], row["milliseconds"], row["cost_pico"] > 0) == (1, 2500, True)
    assert say(priced, "by-audio-token", key).status == 200
    row = priced.rows("by-audio-token")[-1]
    assert (row["estimated"], row["characters"], row["output_audio_tokens"], row["cost_pico"] > 0) == (1, 10, 15, True)


def test_tokens_that_are_told_cost_what_they_cost(priced: Relay) -> None:
    before = len(priced.rows("by-token", 0))
    assert hear(priced, "by-token", KEY).status == 200
    row = priced.rows("by-token", before + 1)[-1]
    assert (row["estimated"], row["cost_pico"]) == (0, 45 * 10**10)


def test_a_budget_holds_for_tokens_that_are_not_known_before(priced: Relay) -> None:
    key = new_key(priced, 0.01)
    for answer in (hear(priced, "by-token", key), say(priced, "by-audio-token", key)):
        assert (answer.status, answer.error["code"]) == (429, "insufficient_quota")


def test_characters_are_charged(priced: Relay) -> None:
    key = new_key(priced, 0.15)
    assert say(priced, "by-character", key).status == 200
    assert say(priced, "by-character", key).status == 429
    assert priced.rows("by-character")[-1]["cost_pico"] == 10**11


@pytest.mark.parametrize("model", ["unpriced", "by-picture"])
def test_without_a_price_it_is_nothing_for_a_budget(priced: Relay, model: str) -> None:
    key = new_key(priced, 100)
    for answer in (hear(priced, model, key), say(priced, model, key)):
        assert (answer.status, answer.error["code"]) == (403, "model_price_unknown")


def test_nothing_is_asked_without_a_key(relay: Relay) -> None:
    before = len(relay.fake.received)
    assert post(relay.homeport, [part('name="file"; filename="a"', WAVE)], TRANSCRIPTIONS, key="sk-no").status == 401
    assert len(relay.fake.received) == before
    assert KEY not in str([visit.headers for visit in relay.fake.received])
