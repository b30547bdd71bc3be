"""A connection to one broker: requests one after the other over a socket.

Requests and answers are aiokafka's protocol classes. Its client is not used: it copies a fetch's records
several times to decode them, and needs an event loop and a background task in every process that reads.
"""

import io
import ssl
import struct
from typing import Any

import numpy as np
from aiokafka import errors
from aiokafka.protocol.admin import ApiVersionRequest

from tapedeck.connectors.kafka.cluster import Cluster
from tapedeck.connectors.kafka.login import log_in
from tapedeck.connectors.kafka.tls import certificate_fault
from tapedeck.schemas.errors import Fatal
from tapedeck.streams.blocks import Bytes

_MOST_BYTES = 1 << 30
_PASSING = {3, 5, 6, 7, 8, 9, 14, 15, 16, 19, 20, 41, 56, 74, 75, 78}
"""Error codes of a cluster that is electing leaders, starting, or has just created a topic."""
_DENIED = {29: "topic", 30: "group", 31: "cluster", 53: "transactional id"}


class Passing(Exception):
    """A fault that may be over soon: a broken connection, a partition without a leader.

    ``remedy``: what to do if it is not.
    """

    def __init__(self, what: str, remedy: str = "check that it runs, then run this again") -> None:
        super().__init__(what)
        self.remedy = remedy


def demand(code: int, what: str) -> None:
    """Return for code 0. Raises Passing for a temporary fault and Fatal for any other."""
    if code == 0:
        return
    name = errors.for_code(code).__name__
    if code in _DENIED:
        raise Fatal(
            f"the cluster does not allow this: {what}: {name} ({code})",
            remedy=f"grant this login the right on the {_DENIED[code]}: `tape topics --acls` lists them",
        )
    if code in _PASSING:
        raise Passing(f"{what}: {name} ({code})")
    raise Fatal(f"the broker refused: {what}: {name} ({code})", remedy="see the broker's log")


class Connection:
    """A socket to one broker. A failure raises Passing, and the connection is then unusable."""

    def __init__(self, cluster: Cluster, host: str, port: int, silent_s: float) -> None:
        try:
            self._socket = cluster.open_socket(host, port, silent_s)
        except OSError as error:
            raise Passing(f"{host}:{port}: {error}") from None
        self._security = cluster.security
        self._where, self._client_id = f"{host}:{port}", f"{cluster.client_id}-bulk"
        self._sent = 0
        self._request: Any = None
        self._versions: dict[int, tuple[int, int]] = {}
        try:
            answer = self.ask(ApiVersionRequest())
            self._versions = {key: (low, high) for key, low, high in answer.api_versions}
            if cluster.security.sasl:
                log_in(self.ask, cluster.security, self._where)
        except (Passing, Fatal):
            self.close()
            raise

    def send(self, request: Any) -> Any:
        """Send an aiokafka request; returns it in the version that this broker supports."""
        try:
            self._request = request.prepare(self._versions)
        except (NotImplementedError, errors.IncompatibleBrokerVersion):
            raise self._other_versions(request) from None
        self._sent += 1
        head = self._request.build_request_header(correlation_id=self._sent, client_id=self._client_id)
        body = head.encode() + self._request.encode()
        try:
            self._socket.sendall(struct.pack(">i", len(body)) + body)
        except OSError as error:
            raise self._broken(error) from None
        return self._request

    def receive(self) -> Bytes:
        """The answer to the last request, from its correlation id on. In new memory.

        Raises Fatal if something other than a broker answers.
        """
        head = np.empty(8, dtype=np.uint8)
        self._read(head.data)
        size, correlation = (int(number) for number in head.view(">i4"))
        if not 4 <= size <= _MOST_BYTES or correlation != self._sent:
            remedy = "check the address, and KAFKA_SECURITY_PROTOCOL against its listener"
            raise Fatal(
                f"what answers at {self._where} does not speak Kafka", value=bytes(head), remedy=remedy
            )
        frame = np.empty(size, dtype=np.uint8)
        frame[:4] = head[4:]
        self._read(frame.data[4:])
        return frame

    def ask(self, request: Any) -> Any:
        """Send a request and wait for its answer."""
        self.send(request)
        return self.answer()

    def answer(self) -> Any:
        """The answer to the last request."""
        frame = io.BytesIO(self.receive().data)
        self._request.parse_response_header(frame)
        return self._request.RESPONSE_TYPE.decode(frame)

    def fileno(self) -> int:
        """For ``select``."""
        return self._socket.fileno()

    def _read(self, into: memoryview) -> None:
        got = 0
        try:
            while got < len(into):
                size = self._socket.recv_into(into[got:])
                if size == 0:
                    raise Passing(f"{self._where} closed the connection")
                got += size
        except OSError as error:
            raise self._broken(error) from None

    def _other_versions(self, request: Any) -> Fatal:
        name, spoken = type(request).__name__, self._versions.get(request.API_KEY)
        newest = max((each.API_VERSION for each in getattr(request, "_CLASSES", ())), default=0)
        too_new = spoken is not None and spoken[0] > newest
        return Fatal(
            f"the broker at {self._where} does not support a version of {name} that this release knows",
            value="v{} to v{}".format(*spoken) if spoken else "none",
            remedy=f"use a newer tapedeck; this one supports up to v{newest}"
            if too_new
            else "use Kafka 0.11 or newer",
        )

    def _broken(self, error: OSError) -> Passing | Fatal:
        if isinstance(
            error, ssl.SSLError
        ):  # of TLS 1.3: a client's certificate is refused after the handshake
            told = certificate_fault(error, self._where, self._security)
            if told is not None:
                return told
        return Passing(f"{self._where}: {error or type(error).__name__}")

    def close(self) -> None:
        self._socket.close()
