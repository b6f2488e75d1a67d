"""Signing in and out, in the audit log."""

import http.client
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlencode

import pytest

from homeport.control.sign_ins import Failures
from tests import openapi
from tests.api import raw
from tests.server import KEY, Running, running

OURS = {"sec-fetch-site": "same-origin"}
FORM = {"content-type": "application/x-www-form-urlencoded"}


@pytest.fixture
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with running(tmp_path_factory.mktemp("sign-ins")) as made:
        yield made


def ask(server: Running, path: str, headers: dict[str, str], **form: str) -> http.client.HTTPResponse:
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=60)
    try:
        connection.request("POST", f"/dashboard/{path}", urlencode(form), {**FORM, **headers})
        answer = connection.getresponse()
        answer.read()
        return answer
    finally:
        connection.close()


def sign_in(server: Running, key: str) -> dict[str, str]:
    """The headers of whoever has signed in."""
    cookie = ask(server, "sign-in", OURS, key=key).getheader("set-cookie")
    assert cookie is not None
    return {"cookie": cookie.partition(";")[0]}


def entries(server: Running, kind: str) -> list[dict[str, Any]]:
    listed = raw.ask(server, "GET", f"/v1/organization/audit_logs?event_types={kind}").json
    openapi.validate("ListAuditLogsResponse", listed)
    found: list[dict[str, Any]] = listed["data"]
    return found


def test_who_comes_and_goes(server: Running) -> None:
    (project,) = raw.ask(server, "GET", "/v1/organization/projects").json["data"]
    made = raw.ask(server, path=f"/v1/homeport/projects/{project['id']}/api_keys", body={"name": "ci"}).json
    session = sign_in(server, made["value"])
    (entry,) = entries(server, "login.succeeded")
    assert entry["actor"] == {
        "type": "session",
        "session": {"user": {"id": made["id"], "email": ""}, "ip_address": "127.0.0.1"},
        "api_key": {"id": made["id"], "type": "service_account"},
    }
    of_key = raw.ask(server, "GET", f"/v1/organization/audit_logs?actor_ids[]={made['id']}").json["data"]
    assert [one["id"] for one in of_key] == [entry["id"]]
    assert entries(server, "logout.succeeded") == []
    ask(server, "sign-out", {**session, **OURS})
    (entry,) = entries(server, "logout.succeeded")
    assert entry["actor"]["api_key"]["id"] == made["id"]
    ask(server, "sign-out", {**session, **OURS})  # nobody is in
    assert len(entries(server, "logout.succeeded")) == 1


def test_a_users_key_names_the_user(server: Running) -> None:
    (project,) = raw.ask(server, "GET", "/v1/organization/projects").json["data"]
    invite = raw.ask(server, path="/v1/organization/invites", body={"email": "ann@example.com", "role": "owner"}).json
    raw.ask(server, path=f"/v1/homeport/invites/{invite['id']}/accept", body={"name": "Ann"})
    (user,) = raw.ask(server, "GET", "/v1/organization/users").json["data"]
    body = {"name": "hers", "user_id": user["id"]}
    made = raw.ask(server, path=f"/v1/homeport/projects/{project['id']}/api_keys", body=body).json
    sign_in(server, made["value"])
    (entry,) = entries(server, "login.succeeded")
    assert entry["actor"]["session"]["user"] == {"id": user["id"], "email": "ann@example.com"}
    by_mail = "/v1/organization/audit_logs?actor_emails[]=ann@example.com"
    assert [one["id"] for one in raw.ask(server, "GET", by_mail).json["data"]] == [entry["id"]]


def test_another_sites_page_signs_nobody_out(server: Running) -> None:
    session = sign_in(server, KEY)
    for _ in range(3):
        ask(server, "sign-out", {**session, "sec-fetch-site": "cross-site"})
    (entry,) = entries(server, "logout.failed")
    assert entry["logout.failed"]["error_code"] == "cross_site_request"
    ask(server, "sign-out", {"cookie": "homeport_session=made-up", "sec-fetch-site": "cross-site"})
    assert len(entries(server, "logout.failed")) == 1


def test_whoever_fails_again_and_again_is_one_row(server: Running) -> None:
    for count in range(20):
        assert ask(server, "sign-in", OURS, key=f"sk-wrong-{count}-0123456789").status == 401
    (entry,) = entries(server, "login.failed")
    assert entry["actor"] == {
        "type": "session",
        "session": {"user": {"id": "unknown", "email": ""}, "ip_address": "127.0.0.1"},
    }
    assert (entry["login.failed"]["error_code"], entry["login.failed"]["attempts"]) == ("invalid_api_key", 1)
    assert "wrong" not in str(entry)
    assert sign_in(server, KEY)


def test_what_failed_in_between_is_counted() -> None:
    failures = Failures()
    assert [failures.count("192.0.2.1", now) for now in (0, 1, 59, 60, 61, 200)] == [1, 0, 0, 3, 0, 2]
    assert failures.count("192.0.2.2", 200) == 1


def test_addresses_of_one_network_are_one() -> None:
    failures = Failures()
    assert failures.count("2001:db8:0:1::1", 0) == 1
    assert failures.count("2001:db8:0:1:ffff::2", 1) == 0
    assert failures.count("2001:db8:0:2::1", 2) == 1
    assert failures.count("no address", 3) == 1


def test_many_addresses_do_not_fill_the_log_or_the_memory() -> None:
    failures = Failures()
    told = [failures.count(f"10.{one >> 8}.{one & 255}.1", one / 100) for one in range(20_000)]
    assert sum(1 for one in told if one) == 100
    assert len(failures._known) == 1000
    assert failures.count("192.0.2.1", 3600 + 200) == 1  # another hour
