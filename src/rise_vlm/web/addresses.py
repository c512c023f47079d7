"""Where a labelling tool says that a picture is, and its bytes: within the text, below a folder, or on the network.

Nothing is fetched unless that was allowed, and no file outside the folder is ever read. Left out: cloud storage
(``s3://``, ``gs://``), for which Label Studio makes plain URLs when asked to.
"""

from __future__ import annotations

import base64
import binascii
import http.client
import ipaddress
import re
import socket
import time
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from rise_vlm.data.images import safe_join
from rise_vlm.errors import DataError

FETCH_SECONDS = 20.0
"""Of one fetch: until it is connected, and until all of it has come."""


CHUNK = 1 << 16


@dataclass(frozen=True)
class Addresses:
    """What may be read: ``root`` is the folder of local files (None: none), ``urls`` whether URLs are fetched."""

    root: Path | None
    urls: bool
    max_bytes: int

    def read(self, address: str) -> bytes:
        """The bytes at ``address``. Raises DataError, short and without what is in local files."""
        if address.startswith("data:"):
            return decode_base64(address, self.max_bytes)
        kind = urlsplit_or_none(address)
        if kind is None:
            raise DataError(f"{address[:80]!a} is no address")
        if kind.scheme in ("http", "https"):
            if not self.urls:
                raise DataError(f"{address[:80]!a} is not fetched; the server was started without --allow-urls")
            return self._fetch(address)
        if len(kind.scheme) > 1:  # one letter is a drive
            raise DataError(f"{address[:80]!a}: {kind.scheme} addresses are not read")
        return self._file(address)

    def _file(self, address: str) -> bytes:
        if self.root is None:
            raise DataError(f"{address[:80]!a} is not read; the server was started without --root")
        path = next((path for name in _names(address) if (path := self._below(name)) is not None), None)
        if path is None:
            raise DataError(f"{address[:80]!a} is no file below the folder of --root")
        try:
            with path.open("rb") as file:
                content = file.read(self.max_bytes + 1)
        except OSError as error:
            raise DataError(f"{address[:80]!a} cannot be read: {error.strerror}") from None
        return _bounded(content, self.max_bytes)

    def _below(self, name: str) -> Path | None:
        """The regular file of that name below the root, links followed; None where there is none."""
        assert self.root is not None
        try:
            absolute = Path(name)
            if absolute.is_absolute():
                name = str(absolute.relative_to(self.root.absolute()))
            path = safe_join(self.root, name)
            return path if path.is_file() else None
        except (DataError, OSError, ValueError):
            return None

    def _fetch(self, address: str) -> bytes:
        deadline, content = time.monotonic() + FETCH_SECONDS, bytearray()
        try:
            with _opener().open(address, timeout=FETCH_SECONDS) as answer:
                while len(content) <= self.max_bytes and (more := answer.read1(CHUNK)):
                    content += more
                    if time.monotonic() > deadline:
                        raise DataError(f"{address[:80]!a} cannot be fetched: it took more than {FETCH_SECONDS:g} s")
                return _bounded(bytes(content), self.max_bytes)
        except DataError:
            raise
        except (OSError, ValueError, http.client.HTTPException) as error:
            reason = getattr(error, "reason", None) or error
            raise DataError(
                f"{address[:80]!a} cannot be fetched: {str(reason)[:200] or type(error).__name__}"
            ) from None


def _names(address: str) -> list[str]:
    """The paths that an address of Label Studio may mean: itself, an upload, or a file of its local storage."""
    parts = urlsplit_or_none(address)
    assert parts is not None
    if parts.path.startswith("/data/local-files"):
        return parse_qs(parts.query).get("d", [])[:1]
    plain = unquote(parts.path)
    if plain.startswith("/data/"):
        below = plain.removeprefix("/data/")
        return [below, below.removeprefix("upload/"), f"media/{below}"]
    return [address, plain]


def decode_base64(text: str, max_bytes: int) -> bytes:
    """The bytes of base64 text, with or without ``data:image/...;base64,`` before it. Raises DataError."""
    if text.startswith("data:"):
        head, comma, text = text.partition(",")
        if not comma or not head.endswith(";base64"):
            raise DataError("a data: address must be data:image/...;base64,...")
    text = re.sub(r"\s+", "", text) if len(text) <= 2 * max_bytes else text
    if len(text) > max_bytes * 4 // 3 + 4:
        raise DataError(f"the image has more than {max_bytes} bytes")
    try:
        content = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise DataError("the image is not valid base64") from None
    return _bounded(content, max_bytes)


def _bounded(content: bytes, max_bytes: int) -> bytes:
    if len(content) > max_bytes:
        raise DataError(f"the image has more than {max_bytes} bytes")
    if not content:
        raise DataError("the image is empty")
    return content


def urlsplit_or_none(address: str) -> Any:
    """The parts of an address, None where it has none."""
    try:
        return urlsplit(address)
    except ValueError:
        return None


def _checked(made: socket.socket) -> None:
    """Refuse a connection to a link-local address, where clouds keep a machine's credentials. The peer itself is looked
    at, so a name that resolves to another address a moment later is no way around it.
    """
    peer = ipaddress.ip_address(made.getpeername()[0].partition("%")[0])
    if (getattr(peer, "ipv4_mapped", None) or peer).is_link_local:
        made.close()
        raise OSError("link-local addresses are not fetched from")


class _Connection(http.client.HTTPConnection):
    def connect(self) -> None:
        super().connect()
        _checked(self.sock)


class _SecureConnection(http.client.HTTPSConnection):
    def connect(self) -> None:
        super().connect()
        _checked(self.sock)


class _Http(urllib.request.HTTPHandler):
    def http_open(self, req: urllib.request.Request) -> http.client.HTTPResponse:
        return self.do_open(_Connection, req)


class _Https(urllib.request.HTTPSHandler):
    def https_open(self, req: urllib.request.Request) -> http.client.HTTPResponse:
        return self.do_open(_SecureConnection, req)


class _Redirects(urllib.request.HTTPRedirectHandler):
    max_redirections = 3

    def redirect_request(self, req: Any, fp: Any, code: int, msg: str, headers: Any, newurl: str) -> Any:
        if not newurl.startswith(("http://", "https://")):
            raise urllib.error.URLError("it leads to an address that is not http")
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def _opener() -> urllib.request.OpenerDirector:
    """Opens http and https only: no file:, no ftp:, no proxies."""
    opener = urllib.request.OpenerDirector()
    errors = urllib.request.HTTPDefaultErrorHandler, urllib.request.HTTPErrorProcessor
    for handler in (_Http(), _Https(), _Redirects(), *(kind() for kind in errors)):
        opener.add_handler(handler)
    opener.addheaders = [("User-Agent", "rise-vlm")]
    return opener
