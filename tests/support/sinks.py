"""Receivers of alarms on loopback: a web server and a mail server that keep what they are sent."""

import base64
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, ClassVar


@dataclass
class Hooks:
    """``posts``: headers and body of each. ``statuses``: what is answered next; 200 when none is left."""

    url: str = ""
    posts: list[tuple[dict[str, str], bytes]] = field(default_factory=list)
    statuses: list[int] = field(default_factory=list)
    drip_s: float = 0.0


@contextmanager
def web_server() -> Iterator[Hooks]:
    """A web server that takes every POST, or answers as it is told; with ``drip_s``, a byte at a time."""
    hooks = Hooks()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            hooks.posts.append((dict(self.headers.items()), body))
            if hooks.drip_s:
                with suppress(OSError):
                    for byte in b"HTTP/1.0 200 OK" * 100:
                        self.wfile.write(bytes([byte]))
                        time.sleep(hooks.drip_s)
                return
            status = hooks.statuses.pop(0) if hooks.statuses else 200
            self.send_response(status)
            self.send_header("Location", "/elsewhere")
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    hooks.url = f"http://127.0.0.1:{server.server_address[1]}/in/path-token"
    try:
        yield hooks
    finally:
        server.shutdown()
        server.server_close()


class MailServer:
    """A mail server: ``mails`` are whole messages, ``logins`` the user and password of each login.

    ``refuses``: a command and the reply to it. ``context``: it offers STARTTLS with that certificate.
    """

    greeting: ClassVar[bytes] = b"220 here\r\n"

    def __init__(self) -> None:
        self.mails: list[str] = []
        self.logins: list[tuple[str, str]] = []
        self.heard: list[str] = []
        self.encrypted: list[bool] = []
        self.refuses: dict[str, str] = {}
        self.context: ssl.SSLContext | None = None
        self.is_mute = False
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                line, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._session, args=(line,), daemon=True).start()

    def _session(self, line: Any) -> None:
        with suppress(OSError, ssl.SSLError):
            if self.is_mute:
                line.recv(1)
                return
            line.sendall(self.greeting)
            file = line.makefile("rb")
            encrypted = False
            while words := file.readline().decode().strip():
                verb = words.split()[0].upper()
                self.heard.append(verb)
                if (reply := self.refuses.get(verb)) is not None:
                    line.sendall(f"{reply.replace('{words}', words)}\r\n".encode())
                elif verb == "STARTTLS" and self.context is not None:
                    line.sendall(b"220 go on\r\n")
                    line = self.context.wrap_socket(line, server_side=True)
                    file, encrypted = line.makefile("rb"), True
                elif verb == "DATA":
                    line.sendall(b"354 go on\r\n")
                    self.mails.append(b"".join(iter(file.readline, b".\r\n")).decode())
                    self.encrypted.append(encrypted)
                    line.sendall(b"250 taken\r\n")
                else:
                    line.sendall(self._reply(verb, words).encode())

    def _reply(self, verb: str, words: str) -> str:
        if verb == "EHLO":
            return "250-here\r\n" + ("250-STARTTLS\r\n" if self.context else "") + "250 AUTH PLAIN\r\n"
        if verb == "AUTH":
            _, user, password = base64.b64decode(words.split()[2]).decode().split("\0")
            self.logins.append((user, password))
            return "235 welcome\r\n"
        return "250 ok\r\n"


@contextmanager
def mail_server() -> Iterator[MailServer]:
    server = MailServer()
    try:
        yield server
    finally:
        server.close()
