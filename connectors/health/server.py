"""The health server of a process: `/health/live`, `/health/ready` and `/metrics`, in threads of its own.

It answers while the process's loop is busy, and on loopback unless TAPE_HEALTH_HOST says otherwise.
"""

import json
import logging
import os
import threading
from collections.abc import Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from tapedeck.connectors.health.exposition import CONTENT_TYPE, exposed
from tapedeck.connectors.health.vitals import Vitals
from tapedeck.schemas.errors import Fatal

log = logging.getLogger("tapedeck.health")

HOST, PORT = "TAPE_HEALTH_HOST", "TAPE_HEALTH_PORT"
LOOPBACK = "127.0.0.1"


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    allow_reuse_address = True
    vitals: Vitals


def serve(vitals: Vitals, environment: Mapping[str, str] = os.environ) -> str:
    """Serve ``vitals`` until the process ends; gives the address.

    Raises Fatal for a port that is none, or that cannot be bound.
    """
    host, named = environment.get(HOST) or LOOPBACK, environment.get(PORT) or "0"
    if not named.isdecimal() or int(named) > 65535:
        raise Fatal(f"{PORT} is not a port", value=named, remedy="write a number up to 65535, or unset it")
    try:
        server = _Server((host, int(named)), _Handler)
    except OSError as error:
        raise Fatal(
            f"this process cannot serve its health: {error.strerror or error}",
            value=f"{PORT}={named}, {HOST}={host}",
            remedy=f"give each process a {PORT} of its own, or unset it: then a free port is taken",
        ) from None
    server.vitals = vitals
    threading.Thread(target=server.serve_forever, name="health", daemon=True).start()
    address = f"http://{host}:{server.server_address[1]}"
    log.info("health of %s on %s", vitals.process, address)
    return address


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    timeout = 5.0

    def do_GET(self) -> None:
        """Answer a probe or a scrape. What is asked in the middle of a change is asked again."""
        for _ in range(3):
            try:
                return self._answer()
            except RuntimeError as error:  # a dictionary changed while it was read
                said = str(error)
        return self._send(500, "text/plain; charset=utf-8", said.encode())

    def _answer(self) -> None:
        vitals = self.server.vitals
        match self.path.partition("?")[0]:
            case "/health/ready":
                self._health("ready", vitals.missing())
            case "/health/live":
                self._health("live", vitals.stuck())
            case "/metrics":
                self._send(200, CONTENT_TYPE, exposed(vitals.samples()))
            case _:
                known = b"there are /health/live, /health/ready and /metrics\n"
                self._send(404, "text/plain; charset=utf-8", known)

    def _health(self, name: str, found: dict[str, str]) -> None:
        body = {"process": self.server.vitals.process, name: not found, "missing": found}
        self._send(503 if found else 200, "application/json", json.dumps(body).encode() + b"\n")

    def _send(self, status: int, kind: str, content: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *args: object) -> None:
        """Probes come every few seconds: they are not logged."""
