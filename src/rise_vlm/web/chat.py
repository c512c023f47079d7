"""Asking an OpenAI-compatible endpoint: one chat completion at a time, over the standard library.

The key goes to the one address that the user gave, in one header: redirects are not followed, plain HTTP does not go
through a proxy, and the key is taken out of whatever is told. What passes (429, 5xx, a dropped connection, a reply that
is no JSON) is tried again, ever later. Left out: streaming, tools, and several choices.
"""

from __future__ import annotations

import http.client
import json
import random
import time
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from threading import Event
from typing import Any, cast
from urllib.parse import urlsplit

from rise_vlm.errors import Interrupted, UserError

AGAIN = frozenset({408, 409, 425, 429, 500, 502, 503, 504, 520, 522, 524, 529})
"""Statuses that may be another a moment later."""

NEVER = frozenset({401, 403, 404, 405})
"""Statuses that will be the same for every request: wrong key, wrong model, wrong address."""

LARGEST_REPLY = 4 << 20
"""Bytes; a longer reply is not read."""

FIRST_WAIT, LONGEST_WAIT = 1.0, 60.0
"""Seconds before the second try, doubled for each further one, and at most, whatever ``Retry-After`` asks for."""

TOLD = 200
"""Characters of an endpoint's own message that are passed on."""


class Unanswered(Exception):
    """A request that got no usable reply. ``final``: another one would not get one either."""

    def __init__(self, told: str, *, final: bool = False) -> None:
        super().__init__(told)
        self.final = final


class _Again(Exception):
    """Something that may pass. ``after`` is how long the endpoint asks to wait, in seconds."""

    def __init__(self, told: str, after: float = 0.0) -> None:
        super().__init__(told)
        self.after = after


@dataclass(frozen=True)
class Reply:
    """What was answered: the text, whether it came to its end, and the tokens read and written, 0 where not told."""

    text: str
    finished: bool
    prompt_tokens: int
    completion_tokens: int


@dataclass(frozen=True)
class Chat:
    """An endpoint and a model there. ``timeout`` is seconds for one reply; ``stop`` ends all that waits."""

    url: str
    model: str
    key: str | None = field(default=None, repr=False)
    temperature: float = 0.2
    max_tokens: int = 1024
    timeout: float = 120.0
    tries: int = 5
    stop: Event = field(default_factory=Event, repr=False)

    def __post_init__(self) -> None:
        parts = urlsplit(self.url)
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.username or parts.query:
            raise UserError("--teacher is the address of an endpoint, such as http://localhost:8000/v1.")
        if self.key is not None and (not self.key.isascii() or not self.key.isprintable() or " " in self.key):
            raise UserError("--key-env: the key in that variable holds blanks or characters that no key has.")

    @property
    def host(self) -> str:
        """Where it is, without what else the address says."""
        return urlsplit(self.url).netloc

    def body(self, text: str, pictures: Sequence[str]) -> bytes:
        """The request: pictures as data URIs, then the text."""
        shown = [{"type": "image_url", "image_url": {"url": picture}} for picture in pictures]
        message = {"role": "user", "content": [*shown, {"type": "text", "text": text}]}
        how = {"temperature": self.temperature, "max_tokens": self.max_tokens}
        return json.dumps({"model": self.model, "messages": [message], **how}).encode()

    def ask(self, text: str, pictures: Sequence[str] = ()) -> Reply:
        """The reply to a text and pictures (data URIs).

        Raises:
            Unanswered: no try brought one.
            Interrupted: ``stop`` was set meanwhile.
        """
        body, wait, told = self.body(text, pictures), FIRST_WAIT, ""
        for number in range(self.tries):
            if self.stop.is_set():
                raise Interrupted("stopped")
            try:
                return self._once(body)
            except _Again as passing:
                told = str(passing)
                if number + 1 < self.tries:
                    self.stop.wait(min(LONGEST_WAIT, max(passing.after, wait * random.uniform(0.75, 1.25))))
                wait *= 2
        raise Unanswered(f"{told}, {self.tries} times")

    def _once(self, body: bytes) -> Reply:
        """One try. Raises _Again for what may pass, Unanswered for what will not."""
        headers = {"content-type": "application/json", "accept": "application/json", "user-agent": "rise-vlm"}
        if self.key:
            headers["authorization"] = f"Bearer {self.key}"
        address = self.url.rstrip("/").removesuffix("/chat/completions") + "/chat/completions"
        request = urllib.request.Request(address, body, headers)
        try:
            with _opener().open(request, timeout=self.timeout) as response:
                return _read(_whole(response, time.monotonic() + self.timeout))
        except urllib.error.HTTPError as error:
            raise self._refused(error) from None
        except TimeoutError:
            raise _Again(f"no reply in {self.timeout:g} s") from None
        except urllib.error.URLError as error:
            if isinstance(error.reason, TimeoutError):
                raise _Again(f"no reply in {self.timeout:g} s") from None
            raise _Again(f"cannot be reached ({self._safe(str(error.reason))})") from None
        except (http.client.HTTPException, OSError) as error:
            raise _Again(f"the connection broke ({type(error).__name__})") from None

    def _refused(self, error: urllib.error.HTTPError) -> Exception:
        told = f"HTTP {error.code}"
        try:
            said = self._safe(_message(error.read(1 << 16)))
        except (http.client.HTTPException, OSError):
            said = ""
        told += f" ({said})" if said else ""
        if error.code in AGAIN:
            return _Again(told, _seconds(error.headers.get("retry-after")))
        return Unanswered(told, final=error.code in NEVER or 300 <= error.code < 400)

    def _safe(self, text: str) -> str:
        """An endpoint's words, on one line and without the key, which some repeat."""
        line = " ".join(text.split())
        return (line.replace(self.key, "***") if self.key else line)[:TOLD]


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_: Any, **__: Any) -> None:
        """None makes a redirect an HTTPError: the key must not follow it elsewhere."""


def _opener() -> urllib.request.OpenerDirector:
    secure = {scheme: proxy for scheme, proxy in urllib.request.getproxies().items() if scheme == "https"}
    return urllib.request.build_opener(_NoRedirect, urllib.request.ProxyHandler(secure))


def _whole(response: Any, until: float) -> bytes:
    """The body, to its limits of bytes and of time."""
    parts, size = [], 0
    while part := response.read1(1 << 16):
        parts.append(part)
        size += len(part)
        if size > LARGEST_REPLY:
            raise Unanswered(f"the reply is longer than {LARGEST_REPLY >> 20} MB")
        if time.monotonic() > until:
            raise TimeoutError
    if response.length:  # read1 does not tell a body that ends early
        raise http.client.IncompleteRead(b"", response.length)
    return b"".join(parts)


def _read(body: bytes) -> Reply:
    try:
        found = json.loads(body)
        choice = found["choices"][0]
        content = choice["message"]["content"]
    except (ValueError, RecursionError, LookupError, TypeError):
        raise _Again("the reply is no chat completion") from None
    if isinstance(content, list):  # parts, as some endpoints write them
        parts = cast("list[Any]", content)
        content = "".join(str(part.get("text", "")) for part in parts if isinstance(part, Mapping))
    usage = found.get("usage")
    used = cast("Mapping[str, Any]", usage) if isinstance(usage, Mapping) else {}
    text = content if isinstance(content, str) else ""
    return Reply(
        text, choice.get("finish_reason") != "length", _count(used, "prompt_tokens"), _count(used, "completion_tokens")
    )


def _count(usage: Mapping[str, Any], name: str) -> int:
    value = usage.get(name)
    return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else 0


def _message(body: bytes) -> str:
    """What an endpoint says of an error: ``error.message`` where it keeps to the form, else the text itself."""
    text = body.decode("utf-8", errors="replace")
    try:
        found = json.loads(text)
        error = found.get("error", found) if isinstance(found, Mapping) else {}
        return str(error.get("message", text) if isinstance(error, Mapping) else error)
    except (ValueError, RecursionError):
        return "" if text.lstrip().startswith("<") else text


def _seconds(text: str | None) -> float:
    try:
        return max(0.0, float(text or 0))
    except ValueError:
        return 0.0
