"""Readers of the parts of a snapshot, each from the cluster alone. They raise what the clients raise."""

from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from contextlib import suppress
from typing import Any

from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import AdminClient

from tapedeck.connectors.dead_letters import REASON, STAGE
from tapedeck.connectors.dead_letters import TOPIC as DEAD_LETTERS
from tapedeck.connectors.kafka.admin import admin_of
from tapedeck.connectors.kafka.cluster import Cluster
from tapedeck.connectors.kafka.identity import ANSWER_S
from tapedeck.connectors.kafka.scan import ends_of, read_parts
from tapedeck.connectors.tapes.marks import last_watermarks
from tapedeck.schemas.codec import Body, decode
from tapedeck.schemas.errors import DeadLetter
from tapedeck.streams.merge import Part
from tapedeck.streams.protocol import MINUTE_US, Message
from tapedeck.streams.stages.account.rules.orders import TERMINAL
from tapedeck.tape.doctor.snapshot import (
    AccountSeen,
    Beat,
    ControlSeen,
    GroupSeen,
    LettersSeen,
    MarkSeen,
    OrderSeen,
    PositionSeen,
    UniverseSeen,
    WatchlistSeen,
)
from tapedeck.tape.status.lines import Newest, lags_of
from tapedeck.topics.catalogue import Layout

_BACK = 40
_MARKS_BACK = 20
_BARS_BACK = 1_000
_WIDER = 8
_MOST = 20_000
"""Messages of a partition that are looked at, at most, for the newest record."""
_LETTERS_BACK = 500
_STATE_BACK = 2_000


def beats_of(newest: Newest) -> tuple[Beat, ...]:
    """The newest heartbeats. What an older release did not write is None or empty."""
    return tuple(_beat(body) for _, body in sorted(newest.items()))


def _beat(body: Mapping[str, Any]) -> Beat:
    has_process = bool(body.get("process"))
    return Beat(
        stage=body["stage"],
        partition=body["partition"],
        at=body["at"],
        watermark=body["last_watermark"],
        lag=body["lag"],
        records=body["records"],
        version=body["code_version"],
        digest=body["config_digest"],
        rules=body.get("rules_version", ""),
        process=body.get("process", ""),
        started_at=body.get("started_at") or None,
        ready=body.get("ready") if has_process else None,
        restored=body.get("restored"),
        to_restore=body.get("to_restore"),
        counts=body["counts"],
    )


def groups(cluster: Cluster, names: Collection[str]) -> dict[str, GroupSeen]:
    """The groups of the stages and dispatchers ``names``."""
    client, layout = admin_of(cluster), cluster.layout
    return {name: _group(client, layout, layout.group(name)) for name in names}


def _group(client: AdminClient, layout: Layout, group: str) -> GroupSeen:
    try:
        described = client.describe_consumer_groups([group], request_timeout=ANSWER_S)[group].result()
        members = len(described.members)
    except KafkaException as error:
        if error.args[0].code() != KafkaError.GROUP_ID_NOT_FOUND:
            raise
        members = 0
    try:
        lags = lags_of(client, layout, group)
    except KafkaException as error:
        if error.args[0].code() != KafkaError.GROUP_ID_NOT_FOUND:
            raise
        lags = []
    return GroupSeen(members, {each.topic: each.lag for each in lags})


def marks(cluster: Cluster, names: Iterable[str]) -> dict[str, MarkSeen]:
    """The label that every partition of each of ``names`` has reached."""
    names = tuple(names)
    found: dict[str, list[int | None]] = {name: [] for name in names}
    for (name, _), label in last_watermarks(cluster, names, _MARKS_BACK).items():
        found[name].append(label)
    return {name: MarkSeen(lowest(labels)) for name, labels in found.items()}


def lowest(labels: Collection[int | None]) -> int | None:
    """The lowest; None if there is none, or one is not known."""
    known = [label for label in labels if label is not None]
    return min(known) if known and len(known) == len(labels) else None


def is_record(message: Message) -> bool:
    """Whether it is a record, and no punctuation."""
    return message.value is not None and not (message.key or b"").startswith(b"~")


def newest_times(cluster: Cluster, names: Iterable[str]) -> dict[str, int | None]:
    """The time of the newest record of each topic, UTC micros, within the last messages of its partitions."""
    names = tuple(names)
    found: dict[str, int | None] = dict.fromkeys(names)
    bounds, back = ends_of(cluster, names), _BACK
    while back <= _MOST:
        left = {part: span for part, span in bounds.items() if found[part[0]] is None}
        for message in _tail(cluster, left, back):
            if is_record(message):
                found[message.topic] = max(found[message.topic] or 0, message.timestamp * 1_000)
        back *= _WIDER
    return found


def newest_bars(cluster: Cluster) -> tuple[dict[str, int], frozenset[str]]:
    """When the newest bar of each symbol ended, UTC micros, and the feeds of those bars."""
    fresh: dict[str, tuple[int, str]] = {}
    for body in _bodies(cluster, "bars", _BARS_BACK):
        fresh[body["symbol"]] = max((body["t"] + MINUTE_US, body["feed"]), fresh.get(body["symbol"], (0, "")))
    return {symbol: at for symbol, (at, _) in fresh.items()}, frozenset(feed for _, feed in fresh.values())


def universe(cluster: Cluster) -> UniverseSeen | None:
    """The newest version."""
    bodies = list(_bodies(cluster, "universe", _STATE_BACK))
    if not bodies:
        return None
    body = max(bodies, key=lambda each: int(each["version"]))
    symbols = frozenset(member["symbol"] for member in body["members"])
    return UniverseSeen(body["version"], symbols, body["created_at"])


def watchlist(cluster: Cluster) -> WatchlistSeen | None:
    """The newest list."""
    newest: Body | None = None
    for newest in _bodies(cluster, "watchlist", _BARS_BACK):  # noqa: B007 - the last one counts
        pass
    if newest is None:
        return None
    symbols = frozenset(member["symbol"] for member in newest["members"])
    return WatchlistSeen(symbols, newest["universe_version"])


def letters(cluster: Cluster) -> tuple[LettersSeen, ...]:
    """The newest dead letters, counted by reason and stage."""
    counts: Counter[tuple[str, str]] = Counter()
    newest: dict[tuple[str, str], int] = {}
    for message in _tail(cluster, ends_of(cluster, (DEAD_LETTERS,)), _LETTERS_BACK):
        headers = {name: (value or b"").decode(errors="replace") for name, value in message.headers}
        if REASON not in headers:
            continue
        key = (headers[REASON], headers.get(STAGE, ""))
        counts[key] += 1
        newest[key] = max(newest.get(key, 0), message.timestamp * 1_000)
    return tuple(
        LettersSeen(reason, stage, count, newest[reason, stage])
        for (reason, stage), count in sorted(counts.items())
    )


def accounts(cluster: Cluster) -> tuple[AccountSeen, ...]:
    """The newest record of each account."""
    newest = {body["account_id"]: body for body in _bodies(cluster, "accounts", _STATE_BACK)}
    return tuple(
        AccountSeen(
            name,
            body["event_time"],
            body["identity"],
            body["broker_account_id"],
            body["status"],
            body["alarm"],
            tuple(body["warnings"]),
            body["halt_step"],
        )
        for name, body in sorted(newest.items())
    )


def orders(cluster: Cluster) -> tuple[OrderSeen, ...]:
    """The orders that are not final, among the newest."""
    newest: dict[str, Body] = {}
    since: dict[str, int] = {}
    for body in _bodies(cluster, "orders", _STATE_BACK):
        name = body["client_order_id"]
        if name in newest and body["seq"] < newest[name]["seq"]:
            continue  # a process that was frozen wrote it late
        if name not in newest or newest[name]["state"] != body["state"]:
            since[name] = body["event_time"]
        newest[name] = body
    return tuple(
        OrderSeen(body["account_id"], name, body["state"], since[name])
        for name, body in sorted(newest.items())
        if body["state"] not in TERMINAL
    )


def positions(cluster: Cluster) -> tuple[PositionSeen, ...]:
    """The positions that are held, or being closed."""
    newest: dict[tuple[str, str], Body] = {}
    since: dict[tuple[str, str], int] = {}
    for body in _bodies(cluster, "positions", _STATE_BACK):
        key = (body["account_id"], body["instrument"])
        if key in newest and _age(body) < _age(newest[key]):
            continue  # as above
        if key not in newest or newest[key]["state"] != body["state"]:
            since[key] = body["event_time"]
        newest[key] = body
    return tuple(
        PositionSeen(*key, body["state"], since[key]) for key, body in sorted(newest.items()) if body["qty"]
    )


def _age(position: Body) -> tuple[int, int]:
    """Of two records of an instrument's positions, the newer one's is higher."""
    return position["opened_at"], position["seq"]


def controls(cluster: Cluster) -> tuple[ControlSeen, ...]:
    """The newest change of each scope's kill switch."""
    newest = newest_changes(_bodies(cluster, "controls", _STATE_BACK))
    return tuple(
        ControlSeen(scope, body["state"], body["person"], body["reason"], body["event_time"])
        for scope, body in sorted(newest.items())
    )


def newest_changes(bodies: Iterable[Body]) -> dict[str, Body]:
    """By scope; commands change no state."""
    newest: dict[str, Body] = {}
    for body in bodies:
        known = newest.get(body["scope"])
        if body["command"] is None and (known is None or body["seq"] >= known["seq"]):
            newest[body["scope"]] = body
    return newest


def newest_bodies(cluster: Cluster, name: str, back: int = _STATE_BACK) -> list[Body]:
    """The readable records among the last ``back`` of each partition of a topic, in log order."""
    return list(_bodies(cluster, name, back))


def _bodies(cluster: Cluster, name: str, back: int) -> Iterable[Body]:
    """The readable records among the last messages of a topic, per partition in log order."""
    for message in _tail(cluster, ends_of(cluster, (name,)), back):
        if is_record(message):
            with suppress(DeadLetter):
                yield decode(name, message.value)


def _tail(cluster: Cluster, bounds: Mapping[Part, tuple[int, int]], back: int) -> Iterable[Message]:
    window = {part: (max(low, end - back), end) for part, (low, end) in bounds.items()}
    for chunk in read_parts(cluster, window):
        yield from chunk
