"""What a snapshot holds of things that are no cluster: database, paper exchange, certificate files."""

import ssl
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path

import requests

from tapedeck.connectors.clock import SystemClock
from tapedeck.connectors.kafka.cluster import Cluster
from tapedeck.connectors.kafka.identity import cluster_id_of
from tapedeck.connectors.postgres.connection import connect
from tapedeck.connectors.postgres.database import revisions
from tapedeck.connectors.postgres.offsets import DEFAULT_GROUP, Offsets
from tapedeck.connectors.postgres.sink_input import bounds, topic_ids
from tapedeck.connectors.postgres.store import Connection
from tapedeck.streams.protocol import SECOND_US
from tapedeck.tape.doctor.snapshot import BESIDE, CertificateSeen, ExchangeSeen, StoreSeen
from tapedeck.topics.catalogue import CATALOGUE

_ANSWER_S = 3.0


def store(url: str, cluster: Cluster, *, with_lag: bool = True) -> StoreSeen:
    """The audit store at ``url``. Raises as ``connect`` does.

    ``with_lag``: the cluster answers, so the sink's offsets are compared with the ends of the topics.
    """
    with closing(connect(url, cluster.prefix, role=None)) as connection:
        revision, head = revisions(connection)
        lag, others = _lag(connection, cluster) if with_lag and revision == head else (None, ())
        before = SystemClock().now()
        row = connection.execute(
            "SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint"
        ).fetchone()
        after = SystemClock().now()
        assert row is not None
        skew = int(row[0]) - (before + after) // 2
    return StoreSeen(revision, head, lag, others, skew)


def _lag(connection: Connection, cluster: Cluster) -> tuple[int | None, tuple[str, ...]]:
    """Records that are not in the store yet, and the topics of which it has read another log only."""
    names = [each.name for each in CATALOGUE.audited]
    offsets = Offsets(connection, DEFAULT_GROUP, cluster_id_of(cluster), topic_ids(cluster, names))
    if not offsets.next:
        return None, tuple(sorted(offsets.earlier))
    ends = bounds(cluster, names)
    lag = sum(max(0, end - offsets.next.get(part, low)) for part, (low, end) in ends.items())
    known = {name for name, _ in offsets.next}
    return lag, tuple(sorted(set(offsets.earlier) - known))


def exchange(url: str) -> ExchangeSeen | None:
    """The paper exchange at ``url``; None without one. Its clock is told where its time runs by itself."""
    if not url:
        return None
    if url == BESIDE:
        return ExchangeSeen(BESIDE)
    try:
        answer = requests.get(f"{url}/_paper/state", timeout=_ANSWER_S)
        state = answer.json() if answer.ok else {}
    except (requests.RequestException, ValueError) as error:
        return ExchangeSeen(url, f"{type(error).__name__}")
    if not isinstance(state, dict) or "now" not in state:
        return ExchangeSeen(url, f"status {answer.status_code}")
    return ExchangeSeen(url, "", int(state["now"]) if state.get("runs_at") else None)


def certificates(files: Mapping[str, Path]) -> tuple[CertificateSeen, ...]:
    """The certificate in each of ``files``, by the setting that names it."""
    return tuple(CertificateSeen(setting, str(path), _expires(path)) for setting, path in files.items())


def _expires(path: Path) -> int | None:
    """When the first certificate of a PEM file expires, UTC micros; None if it cannot be read."""
    try:
        # the only decoder of the standard library: the context's own lists authorities and no others
        told = ssl._ssl._test_decode_cert(str(path))  # type: ignore[attr-defined]
        return int(ssl.cert_time_to_seconds(told["notAfter"])) * SECOND_US
    except (ssl.SSLError, OSError, KeyError, ValueError):
        return None
