"""What stands before every request: whose name it was sent to, who sent it, and how much of it is read.

The Host header must name this server, so that a page of another site cannot reach it through a name that it points at
us (DNS rebinding); a request that changes something must not come from another site's page; where there is a token it
must be shown, and is compared in constant time; a body is read to a limit of bytes and of seconds. Left out: TLS and
accounts, which a proxy in front of it can add.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import contextlib
import hmac
import ipaddress
import json
import re
import secrets
import socket
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from http.cookies import CookieError, SimpleCookie
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

from starlette.exceptions import HTTPException

from rise_vlm.errors import UserError

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

SHORTEST_TOKEN = 12
LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})
DRAIN_SECONDS = 5.0
SAFE = ("GET", "HEAD", "OPTIONS")

HEADERS = {
    "content-security-policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob:; connect-src 'self'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "cross-origin-resource-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "cache-control": "no-store",
}
"""Sent with every answer, unless the answer sets its own."""


@dataclass(frozen=True)
class Door:
    """Who may come in. ``names`` are the host names of this server; ``any_address`` lets in numeric ones too."""

    names: frozenset[str]
    any_address: bool
    token: str | None
    cookie: str
    max_body: int
    body_seconds: float = 30.0

    @classmethod
    def of(
        cls, host: str, port: int, token: str | None, *, allowed: Iterable[str] = (), max_body: int = 1 << 20
    ) -> Door:
        """The door of a server bound to ``host``: off the loopback, or where something that answers to another name
        leads to it, it always has a token, made here if not given.

        Raises:
            UserError: a token that is too short to be one, or that an address and a cookie cannot hold; an ``allowed``
                that is no plain name.
        """
        if token is not None and not re.fullmatch(rf"[\w.~-]{{{SHORTEST_TOKEN},}}", token, re.ASCII):
            raise UserError(
                f"--token must be {SHORTEST_TOKEN} or more of letters, digits and . _ ~ -; leave it out to get one."
            )
        local, others = is_loopback(host), [_plain_name(name) for name in allowed]
        names = LOOPBACK | set(others)
        if not local:
            names |= {host.casefold(), socket.gethostname().casefold()}
        if not local or not all(is_loopback(name) for name in others):
            token = token or secrets.token_urlsafe(24)
        return cls(frozenset(names), not local, token, f"rise-{port}", max_body)

    def names_us(self, host: str) -> bool:
        """Whether a Host header names this server; its port does not matter (it may be forwarded)."""
        try:
            name = (urlsplit(f"//{host}").hostname or "").casefold()
        except ValueError:
            return False
        # A number cannot be rebound: whoever sends it means this machine.
        return name in self.names or (self.any_address and _is_address(name))

    def knows(self, headers: Mapping[str, str]) -> bool:
        """Whether a request shows the token: as a Bearer or Token, as the password of Basic, or in our cookie."""
        return any(self.opens(shown) for shown in self._shown(headers))

    def opens(self, shown: str) -> bool:
        """Whether ``shown`` is the token, compared in constant time; anything opens a door without one."""
        return self.token is None or hmac.compare_digest(shown.encode(), self.token.encode())

    def _shown(self, headers: Mapping[str, str]) -> list[str]:
        kind, _, value = headers.get("authorization", "").partition(" ")
        shown = [value.strip()] if kind.casefold() in ("bearer", "token") else [""]
        if kind.casefold() == "basic":
            with contextlib.suppress(binascii.Error, ValueError):
                shown.append(base64.b64decode(value, validate=True).decode().partition(":")[2])
        try:
            morsel = SimpleCookie(headers.get("cookie", "")).get(self.cookie)
        except CookieError:
            morsel = None
        return shown if morsel is None else [*shown, morsel.value]


class Guard:
    """ASGI middleware that lets through what the door allows, and puts ``HEADERS`` on every answer."""

    def __init__(self, app: ASGIApp, door: Door) -> None:
        self.app, self.door = app, door

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            if scope["type"] == "lifespan":
                await self.app(scope, receive, send)
            return
        headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]}

        async def sealed(message: Message) -> None:
            if message["type"] == "http.response.start":
                mine = {name.lower() for name, _ in message["headers"]}
                more = [(k.encode(), v.encode()) for k, v in HEADERS.items() if k.encode() not in mine]
                message = {**message, "headers": [*message["headers"], *more]}
            await send(message)

        enters = self._enters(scope, headers)
        if enters is not None:
            cookie = f"{self.door.cookie}={enters}; Path=/; HttpOnly; SameSite=Lax"
            await _reply(sealed, 303, {}, {"location": "/", "set-cookie": cookie})
            return
        refused = self._refusal(scope, headers)
        if refused:
            status, why = refused
            if status == 413:
                await _drain(receive)
            await _reply(sealed, status, {"error": why}, {"www-authenticate": "Bearer"} if status == 401 else {})
            return
        await self.app(scope, self._bounded(receive), sealed)

    def _enters(self, scope: Scope, headers: Mapping[str, str]) -> str | None:
        """The token, where the address in the browser is ``/?token=...`` and that is right."""
        if scope["method"] != "GET" or scope["path"] != "/" or self.door.token is None:
            return None
        shown = parse_qs(scope["query_string"].decode("latin-1")).get("token", [""])[0]
        right = shown and self.door.names_us(headers.get("host", "")) and self.door.opens(shown)
        return self.door.token if right else None

    def _refusal(self, scope: Scope, headers: Mapping[str, str]) -> tuple[int, str] | None:
        """Status and reason where the request may not come in."""
        host = headers.get("host", "")
        if not self.door.names_us(host):
            return 421, f"this server is not called '{host[:80]}'; --allow-host makes it answer to another name"
        origin = headers.get("origin")
        if scope["method"] not in SAFE and origin is not None and urlsplit_host(origin) != host.casefold():
            return 403, "a page of another site sent this"
        if not self.door.knows(headers):
            return 401, "the token is missing or wrong: open the address that the command printed"
        length = headers.get("content-length", "0")
        if not length.isdigit() or int(length) > self.door.max_body:
            return 413, f"at most {self.door.max_body} bytes are read"
        return None

    def _bounded(self, receive: Receive) -> Receive:
        """``receive`` that stops a body which is too long or comes too slowly."""
        read, deadline = 0, asyncio.get_running_loop().time() + self.door.body_seconds
        over = False

        async def bounded() -> Message:
            nonlocal read, over
            if over:  # what comes now is only the end of the connection, which may be waited for
                return await receive()
            left = deadline - asyncio.get_running_loop().time()
            try:
                message = await asyncio.wait_for(receive(), max(left, 0.001))
            except TimeoutError:
                raise HTTPException(408, f"the request was not sent within {self.door.body_seconds:g} s") from None
            read += len(message.get("body", b""))
            over = not message.get("more_body", False)
            if read > self.door.max_body:
                raise HTTPException(413, f"at most {self.door.max_body} bytes are read")
            return message

        return bounded


async def _drain(receive: Receive) -> None:
    """Take in and forget a body that is refused, for a bounded time: a client that is cut off while it sends sees a
    broken connection instead of the answer."""
    try:
        async with asyncio.timeout(DRAIN_SECONDS):
            while (message := await receive())["type"] == "http.request" and message.get("more_body", False):
                pass
    except TimeoutError:
        pass


async def _reply(send: Send, status: int, body: Any, headers: Mapping[str, str]) -> None:
    content = json.dumps(body).encode()
    own = {"content-type": "application/json", "content-length": str(len(content)), **headers}
    pairs = [(name.encode(), value.encode()) for name, value in own.items()]
    await send({"type": "http.response.start", "status": status, "headers": pairs})
    await send({"type": "http.response.body", "body": content})


def urlsplit_host(origin: str) -> str:
    """``host:port`` of an Origin header, empty for ``null`` and for what is none."""
    try:
        return urlsplit(origin).netloc.casefold()
    except ValueError:
        return ""


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach a server bound to ``host``."""
    try:
        return host.casefold() == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _plain_name(name: str) -> str:
    """A name of ``--allow-host`` as a Host header has it. Raises UserError where it has a scheme, port or path."""
    plain = name.casefold().removeprefix("[").removesuffix("]")
    if not re.fullmatch(r"[\w.-]+", plain) and not _is_address(plain):
        raise UserError(f"--allow-host {name!a}: give a name alone, without http:// and port, as in annotate.example.")
    return plain


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True
