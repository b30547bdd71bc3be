"""TLS in front of a Postgres built without it: answers the SSLRequest, does the handshake, forwards bytes."""

import socket
import ssl
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

_SSL_REQUEST = struct.pack("!ii", 8, 80877103)
_REQUEST_SIZE = len(_SSL_REQUEST)


class TlsProxy:
    """Listens on a free port of loopback; ``sessions`` counts the successful handshakes.

    Each client has two threads, one per direction. A client that does not ask for TLS is refused.
    """

    def __init__(self, upstream: tuple[str, int], context: ssl.SSLContext) -> None:
        self.context = context
        self.sessions = 0
        self._upstream = upstream
        self._listening = socket.create_server(("127.0.0.1", 0))
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def port(self) -> int:
        return int(self._listening.getsockname()[1])

    def close(self) -> None:
        # close alone does not wake the thread that accepts
        with suppress(OSError):
            self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listening.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        with client, suppress(OSError):
            if client.recv(_REQUEST_SIZE, socket.MSG_WAITALL) != _SSL_REQUEST:
                return
            client.sendall(b"S")
            with (
                self.context.wrap_socket(client, server_side=True) as wrapped,
                socket.create_connection(self._upstream) as server,
            ):
                self.sessions += 1
                back = threading.Thread(target=_pump, args=(server, wrapped), daemon=True)
                back.start()
                _pump(wrapped, server)
                back.join()


def _pump(source: socket.socket, target: socket.socket) -> None:
    with suppress(OSError):
        while content := source.recv(65_536):
            target.sendall(content)
    for each in (source, target):
        with suppress(OSError):
            each.shutdown(socket.SHUT_RDWR)


@contextmanager
def running(upstream: tuple[str, int], context: ssl.SSLContext) -> Iterator[TlsProxy]:
    """A proxy that serves until the block ends."""
    proxy = TlsProxy(upstream, context)
    try:
        yield proxy
    finally:
        proxy.close()
