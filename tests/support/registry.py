"""A small schema registry on loopback."""

import json
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

FIRST_ID = 5001


class Registry(ThreadingHTTPServer):
    """Gives each schema one id, however many subjects have it. It answers with ``status`` if that is not 200.

    ``authorization`` is the only value of that header that it accepts; ``context`` makes it use TLS.
    """

    daemon_threads = True

    def __init__(self, context: ssl.SSLContext | None = None) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.context = context
        self.authorization: str | None = None
        self.asked: list[str | None] = []
        self.status = 200
        self.first_id = FIRST_ID
        self.schemas: list[str] = []
        self.subjects: dict[str, list[int]] = {}

    @property
    def url(self) -> str:
        return f"http{'s' if self.context else ''}://127.0.0.1:{self.server_port}"

    def finish_request(self, request, client_address) -> None:
        """In the thread of the connection, so that a client without a handshake does not block others."""
        if self.context is None:
            return super().finish_request(request, client_address)
        with suppress(OSError), self.context.wrap_socket(request, server_side=True) as wrapped:
            super().finish_request(wrapped, client_address)


class Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        """The schema of an id: what an outside consumer asks."""
        registry = self.server
        assert isinstance(registry, Registry)
        asked = self.path.partition("?")[0].removeprefix("/schemas/ids/")
        index = int(asked) - registry.first_id if asked.isdecimal() else -1
        if 0 <= index < len(registry.schemas):
            return self._answer(200, {"schema": registry.schemas[index], "schemaType": "AVRO"})
        self._answer(404, {"error_code": 40403, "message": "Schema not found"})

    def do_POST(self) -> None:
        registry = self.server
        assert isinstance(registry, Registry)
        registry.asked.append(self.headers["Authorization"])
        schema = json.loads(self.rfile.read(int(self.headers["Content-Length"])))["schema"]
        if registry.authorization not in (None, self.headers["Authorization"]):
            return self._answer(401, {"error_code": 401, "message": "Unauthorized"})
        if schema not in registry.schemas:
            registry.schemas.append(schema)
        subject = self.path.removeprefix("/subjects/").removesuffix("/versions")
        found = registry.first_id + registry.schemas.index(schema)
        registry.subjects.setdefault(subject, []).append(found)
        answer = {"id": found} if registry.status == 200 else {"error_code": 409, "message": "incompatible"}
        self._answer(registry.status, answer)

    def _answer(self, status: int, answer: dict[str, object]) -> None:
        content = json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *arguments: object) -> None:
        pass


@contextmanager
def running(context: ssl.SSLContext | None = None) -> Iterator[Registry]:
    """A registry that answers until the block ends."""
    server = Registry(context)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join(5)
