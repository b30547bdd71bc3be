"""A small schema registry on loopback."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

FIRST_ID = 5001


class Registry(ThreadingHTTPServer):
    """Gives each schema one id, however many subjects have it. ``status`` other than 200 is its answer."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.status = 200
        self.first_id = FIRST_ID
        self.schemas: list[str] = []
        self.subjects: dict[str, list[int]] = {}

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class Handler(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        registry = self.server
        assert isinstance(registry, Registry)
        schema = json.loads(self.rfile.read(int(self.headers["Content-Length"])))["schema"]
        if schema not in registry.schemas:
            registry.schemas.append(schema)
        subject = self.path.removeprefix("/subjects/").removesuffix("/versions")
        found = registry.first_id + registry.schemas.index(schema)
        registry.subjects.setdefault(subject, []).append(found)
        answer = {"id": found} if registry.status == 200 else {"error_code": 409, "message": "incompatible"}
        content = json.dumps(answer).encode()
        self.send_response(registry.status)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *arguments: object) -> None:
        pass


@contextmanager
def running() -> Iterator[Registry]:
    """A registry that answers until the block ends."""
    server = Registry()
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join(5)
