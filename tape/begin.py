"""What a pipeline needs before its first process: topics, tables, the first control, a universe.

Each step checks first, changes nothing that exists, and returns whether it did anything.
"""

from contextlib import closing

from tapedeck.agents.settings import code_version
from tapedeck.connectors.clock import SystemClock
from tapedeck.connectors.controls import EVERY_ACCOUNT, control, write_control
from tapedeck.connectors.kafka.bulk.source import KafkaSource
from tapedeck.connectors.kafka.cluster import Cluster
from tapedeck.connectors.kafka.log import KafkaLogWriter
from tapedeck.connectors.kafka.scan import read_topic
from tapedeck.connectors.postgres.connection import connect
from tapedeck.connectors.postgres.database import require_head, upgrade
from tapedeck.connectors.postgres.documents import keep_document
from tapedeck.connectors.tapes.marks import last_watermarks, newest_universe
from tapedeck.connectors.tapes.tape import universe_body
from tapedeck.schemas.codec import Body
from tapedeck.schemas.errors import Fatal
from tapedeck.streams.config.document import Config
from tapedeck.streams.config.groups import Universe
from tapedeck.streams.identity import event_id
from tapedeck.streams.protocol import MINUTE_US
from tapedeck.streams.stages.account.rules.gate_types import KillState
from tapedeck.streams.wire import Origin

__all__ = ("arm", "keep_document", "migrate", "symbols_of", "universe_of", "write_universe")

UNIVERSE = "universe"
_CONFIGURED = "configuration"


def migrate(url: str, prefix: str) -> bool:
    """Bring the audit's tables to the newest revision. Raises as ``upgrade`` does."""
    with connect(url, prefix, role=None) as connection:
        try:
            require_head(connection)
        except Fatal:
            pass
        else:
            return False
    upgrade(url, prefix)
    return True


def arm(cluster: Cluster, config: Config, *, person: str, reason: str) -> bool:
    """Write ACTIVE for all accounts if no such control was ever written; a person's pause stays."""
    if any(message.key == EVERY_ACCOUNT.encode() for message in read_topic(cluster, "controls")):
        return False
    now = SystemClock().now()
    body = control(EVERY_ACCOUNT, KillState.ACTIVE, person=person, reason=reason, now=now)
    with closing(_writer(cluster, config)) as writer:
        write_control(writer, body)
    return True


def universe_of(cluster: Cluster) -> Body | None:
    """The current universe."""
    with KafkaSource(cluster) as source:
        return newest_universe(source)


def write_universe(cluster: Cluster, config: Config, *, first: int) -> Body | None:
    """Write the configured universe under the next version; None if it already has these symbols.

    ``first``: the first minute of the market, UTC micros, if the topic has no watermark yet. Stages reject
    records before the first watermark.
    """
    symbols = list(config.universe.symbols)
    standing = universe_of(cluster)
    if standing is not None and symbols_of(standing) == symbols:
        return None
    source = "DEFAULT" if config.universe == Universe() else "MANUAL"
    body = universe_body(symbols, source=source, created_at=first, origin=_CONFIGURED)
    version = standing["version"] + 1 if standing is not None else 1
    members = [member | {"reason": "CONFIGURED"} for member in body["members"]]
    body |= {"version": version, "event_id": event_id(UNIVERSE, (version,)), "members": members}
    with closing(_writer(cluster, config)) as writer:
        if None in last_watermarks(cluster, (UNIVERSE,)).values():
            writer.watermark(UNIVERSE, first - MINUTE_US)
        writer.send(UNIVERSE, body)
        writer.flush()
    return body


def symbols_of(universe: Body) -> list[str]:
    """The symbols of a universe, in its order."""
    return [member["symbol"] for member in universe["members"]]


def _writer(cluster: Cluster, config: Config) -> KafkaLogWriter:
    return KafkaLogWriter(cluster, Origin("begin", code_version(), config.digest))
