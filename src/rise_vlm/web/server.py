"""Running an app on a port of this machine: the port is taken before any work, and every refusal is one line.

Left out: more than one process, TLS and reloading.
"""

from __future__ import annotations

import errno
import socket
from typing import TYPE_CHECKING

from rise_vlm.errors import UserError

if TYPE_CHECKING:
    from starlette.types import ASGIApp

BACKLOG = 128


def listen(host: str, port: int) -> socket.socket:
    """A socket bound to ``host`` and ``port`` (0: any free one).

    Raises:
        UserError: a port that is taken or not allowed, a host that is not this machine's.
    """
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    except (OSError, UnicodeError) as error:
        raise UserError(f"--host {host}: this is no address of this machine ({error}).") from None
    server = socket.socket(family, kind, protocol)
    try:
        server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        server.bind(address)
        server.listen(BACKLOG)
    except OSError as error:
        server.close()
        if error.errno == errno.EADDRINUSE:
            raise UserError(
                f"Port {port} of {host} is taken; give another --port, or --port 0 for any that is free.", 1
            ) from None
        if error.errno == errno.EACCES:
            raise UserError(f"Port {port} needs more rights; give a --port from 1024 up.", 1) from None
        raise UserError(f"--host {host}: cannot listen there ({error.strerror}).") from None
    return server


def address(server: socket.socket, host: str, token: str | None = None) -> str:
    """The address to open in a browser, with the token where there is one."""
    port = server.getsockname()[1]
    shown = f"[{host}]" if ":" in host else host
    shown = {"0.0.0.0": socket.gethostname(), "[::]": socket.gethostname()}.get(shown, shown)
    return f"http://{shown}:{port}/" + (f"?token={token}" if token else "")


def run_app(app: ASGIApp, server: socket.socket, *, connections: int = 64) -> None:
    """Answer requests until Ctrl-C or a signal; ``connections`` beyond this many are told to come again (503)."""
    import uvicorn

    config = uvicorn.Config(
        app,
        http="h11",
        ws="none",
        loop="asyncio",
        lifespan="off",
        log_config=None,
        log_level="critical",
        access_log=False,
        server_header=False,
        proxy_headers=False,
        limit_concurrency=connections,
        timeout_keep_alive=10,
        timeout_graceful_shutdown=3,
    )
    try:
        uvicorn.Server(config).run(sockets=[server])
    except KeyboardInterrupt:
        pass  # uvicorn ends in order and then sends the signal again
    finally:
        server.close()
