"""Who may come in: by name, by token, from which page, with how much."""

from __future__ import annotations

import base64
import http.client
import json
import socket
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from web_kit import Running, make_dataset

from rise_vlm.errors import UserError
from rise_vlm.web.guard import Door
from rise_vlm.web.server import address, listen

TOKEN = "a-long-enough-token"
Answer = tuple[int, dict[str, str], bytes]


def send(running: Running, method: str, path: str, body: Any = None, **headers: str) -> Answer:
    connection = http.client.HTTPConnection(running.address.removeprefix("http://"), timeout=60)
    content = body if isinstance(body, bytes | None) else json.dumps(body).encode()
    if content is not None and not isinstance(body, bytes):
        headers.setdefault("content-type", "application/json")
    connection.putrequest(method, path, skip_host="host" in headers, skip_accept_encoding=True)
    for name, value in headers.items():
        connection.putheader(name.replace("_", "-"), value)
    if content is not None:
        connection.putheader("content-length", str(len(content)))
    connection.endheaders(content)
    answer = connection.getresponse()
    found = answer.status, {key.lower(): value for key, value in answer.getheaders()}, answer.read()
    connection.close()
    return found


@pytest.fixture
def running(reviewing: Callable[..., Running], tmp_path: Path) -> Running:
    return reviewing(make_dataset(tmp_path / "d", "classification"))


@pytest.fixture
def locked(reviewing: Callable[..., Running], tmp_path: Path) -> Running:
    return reviewing(make_dataset(tmp_path / "d", "classification"), token=TOKEN)


ACCEPT = {"action": "accept", "annotation": "red"}


@pytest.mark.parametrize("host", ["evil.example", "evil.example:8765", "localhost.evil.example", "10.0.0.1", "", "[::"])
def test_a_name_that_is_not_ours_is_refused(running: Running, host: str) -> None:
    status, _, body = send(running, "GET", "/api/session", host=host)
    assert status in (400, 421), body
    assert b"classes" not in body


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:1", "127.0.0.1:9999", "[::1]:8765"])
def test_our_own_names_are_taken_whatever_the_port(running: Running, host: str) -> None:
    assert send(running, "GET", "/api/session", host=host)[0] == 200


@pytest.mark.parametrize("origin", ["https://evil.example", "null", "http://127.0.0.1:1"])
def test_a_page_of_another_site_cannot_decide(running: Running, origin: str) -> None:
    assert send(running, "POST", "/api/items/0", ACCEPT, origin=origin)[0] == 403
    assert running.session.state(0) == "undecided"
    assert send(running, "POST", "/api/items/0", ACCEPT, origin=running.address)[0] == 200


def test_a_page_of_another_review_cannot_decide(
    running: Running, reviewing: Callable[..., Running], tmp_path: Path
) -> None:
    other = reviewing(make_dataset(tmp_path / "other", "classification"), tmp_path / "other-out")
    own, foreign = (json.loads(send(one, "GET", "/api/session")[2])["review"] for one in (running, other))
    status, _, body = send(running, "POST", f"/api/items/0?review={foreign}", ACCEPT)
    assert status == 409 and b"another review" in body and running.session.state(0) == "undecided"
    assert send(running, "POST", f"/api/items/0?review={own}", ACCEPT)[0] == 200


def test_a_form_of_another_site_is_not_json(running: Running) -> None:
    body = json.dumps(ACCEPT).encode()
    assert send(running, "POST", "/api/items/0", body, content_type="text/plain")[0] == 422
    assert running.session.state(0) == "undecided"


@pytest.mark.parametrize("path", ["/", "/api/session", "/pictures/0/0", "/review.js", "/nothing"])
def test_without_the_token_nothing_is_shown(locked: Running, path: str) -> None:
    for headers in ({}, {"authorization": "Bearer wrong-token-here"}, {"cookie": "rise-1=x; rise"}, {"cookie": "a=b"}):
        status, _, body = send(locked, "GET", path, **headers)
        assert status == 401 and b"token" in body
    assert send(locked, "GET", f"{path}?token=wrong")[0] == 401


def test_the_token_opens_by_header_by_password_and_by_the_printed_address(locked: Running) -> None:
    assert send(locked, "GET", "/api/session", authorization=f"Bearer {TOKEN}")[0] == 200
    basic = base64.b64encode(f"any:{TOKEN}".encode()).decode()
    assert send(locked, "GET", "/api/session", authorization=f"Basic {basic}")[0] == 200
    assert send(locked, "GET", "/api/session", authorization="Basic ????")[0] == 401
    status, headers, _ = send(locked, "GET", f"/?token={TOKEN}")
    assert status == 303 and headers["location"] == "/"  # the token does not stay in the address
    assert "HttpOnly" in headers["set-cookie"] and "SameSite" in headers["set-cookie"]
    cookie = headers["set-cookie"].partition(";")[0]
    assert send(locked, "GET", "/api/session", cookie=cookie)[0] == 200


@pytest.mark.parametrize(
    "path",
    [
        "/../pyproject.toml",
        "/..%2f..%2fetc/passwd",
        "/%2e%2e/guard.py",
        "//etc/passwd",
        "/pictures/..%2f0/0",
        "/pictures/-1/0",
        "/pictures/0/1",
        "/pictures/99999999999999999999/0",
        "/review.py",
        "/templates/review.html",
    ],
)
def test_no_address_leads_to_another_file(running: Running, path: str) -> None:
    status, _, body = send(running, "GET", path)
    assert status in (404, 422), body
    assert set(json.loads(body)) == {"error"}


def test_every_answer_carries_the_policy_that_forbids_foreign_content(running: Running) -> None:
    for path in ("/", "/review.js", "/api/session", "/pictures/0/0", "/nothing"):
        _, headers, _ = send(running, "GET", path)
        assert "default-src 'none'" in headers["content-security-policy"]
        assert headers["x-content-type-options"] == "nosniff" and headers["x-frame-options"] == "DENY"
    page = send(running, "GET", "/")[2].decode()
    assert "http://" not in page and "https://" not in page and "<script>" not in page and "style=" not in page


def test_a_body_that_is_too_long_is_refused_by_its_length_or_while_it_comes(running: Running) -> None:
    assert send(running, "POST", "/api/items/0", content_length=str(1 << 40))[0] == 413
    connection = http.client.HTTPConnection(running.address.removeprefix("http://"), timeout=60)
    chunks = (b" " * (1 << 20) for _ in range(6))
    headers = {"content-type": "application/json", "transfer-encoding": "chunked"}
    try:
        connection.request("POST", "/api/items/0", body=chunks, headers=headers, encode_chunked=True)
        assert connection.getresponse().status == 413
    except (BrokenPipeError, ConnectionResetError):
        pass  # it was closed while we were still sending
    assert send(running, "GET", "/api/session")[0] == 200


def test_bad_input_is_told_in_one_line(running: Running) -> None:
    bad: list[Any] = [b"{", b"\xff", b"[" * 200_000, {}, {"action": "burn"}, {"action": "accept", "more": 1}, []]
    bad += [{"action": "accept", "annotation": "purple"}, {"action": "accept", "rationale": "x" * 20_001}]
    for body in bad:
        status, _, said = send(running, "POST", "/api/items/0", body, content_type="application/json")
        assert status in (400, 422), (body if len(str(body)) < 80 else "long", said)
        assert list(json.loads(said)) == ["error"] and b"\\n" not in said
    assert send(running, "POST", "/api/items/3", ACCEPT)[0] == 404
    assert send(running, "POST", "/api/finish", {"undecided": "burn"})[0] == 422
    assert running.session.counts["undecided"] == 3


def test_a_picture_is_encoded_anew_and_a_broken_one_is_told(running: Running) -> None:
    path = running.session.batch.items[1].pictures[0]
    stored = path.read_bytes()
    path.write_bytes(stored + b"<script>alert(1)</script>")
    status, headers, body = send(running, "GET", "/pictures/1/0")
    assert status == 200 and headers["content-type"] == "image/png" and b"script" not in body
    other = running.session.batch.items[2].pictures[0]
    other.write_bytes(stored[:60])
    status, _, body = send(running, "GET", "/pictures/2/0")
    assert status == 422 and b"cannot be read" in body


def test_a_body_that_comes_too_slowly_is_given_up(reviewing: Callable[..., Running], tmp_path: Path) -> None:
    import dataclasses

    from web_kit import serve_in_thread

    from rise_vlm.web.review import make_app

    session = reviewing(make_dataset(tmp_path / "d", "classification")).session
    server = listen("127.0.0.1", 0)
    port = server.getsockname()[1]
    door = dataclasses.replace(Door.of("127.0.0.1", port, None), body_seconds=0.5)
    stop = serve_in_thread(make_app(session, door), server)
    with socket.create_connection(("127.0.0.1", port), timeout=60) as slow:
        head = f"POST /api/items/0 HTTP/1.1\r\nHost: localhost:{port}\r\nContent-Type: application/json\r\n"
        slow.sendall(f"{head}Content-Length: 40\r\n\r\n{{".encode())
        began = time.monotonic()
        assert b" 408 " in slow.recv(4096)
        assert time.monotonic() - began < 50
    stop()


def test_beyond_the_loopback_there_is_always_a_token() -> None:
    assert Door.of("127.0.0.1", 1, None).token is None and Door.of("localhost", 1, None).token is None
    one, other = Door.of("0.0.0.0", 1, None).token, Door.of("192.168.1.5", 1, None).token
    assert one and other and len(one) >= 32 and one != other
    door = Door.of("0.0.0.0", 1, TOKEN, allowed=["annotate.example"])
    assert door.token == TOKEN and door.names_us("annotate.example:80") and door.names_us("192.168.1.5:1")
    assert not door.names_us("evil.example")


def test_another_name_needs_a_token_too() -> None:
    assert Door.of("127.0.0.1", 1, None, allowed=["localhost", "[::1]"]).token is None
    door = Door.of("127.0.0.1", 1, None, allowed=["Annotate.Example"])
    assert door.token and door.names_us("annotate.example:443")
    for name in ("annotate.example:80", "https://annotate.example", "a/b", ""):
        with pytest.raises(UserError, match="--allow-host"):
            Door.of("127.0.0.1", 1, None, allowed=[name])


def test_a_picture_is_not_stored_since_every_review_uses_the_same_addresses(running: Running) -> None:
    assert send(running, "GET", "/pictures/0/0")[1]["cache-control"] == "no-store"


@pytest.mark.parametrize("token", ["short", "with blanks in it", "semi;colon-semi;colon", "ümläute-are-no-token", ""])
def test_a_token_that_is_none_is_refused(token: str) -> None:
    with pytest.raises(UserError, match="--token must be"):
        Door.of("127.0.0.1", 1, token)


def test_a_port_that_is_taken_is_told() -> None:
    with listen("127.0.0.1", 0) as first:
        port = first.getsockname()[1]
        with pytest.raises(UserError, match=f"Port {port} of 127.0.0.1 is taken"):
            listen("127.0.0.1", port)
        assert address(first, "127.0.0.1", "t") == f"http://127.0.0.1:{port}/?token=t"
    with pytest.raises(UserError, match="no address of this machine"):
        listen("no.such.host.invalid", 0)
    with pytest.raises(UserError, match="cannot listen there"):
        listen("203.0.113.7", 0)
