"""Creating a regression tape from a window of a log, and checking it against its digests."""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from tapedeck.connectors.recorded.format import FORMAT, Manifest, RecordedTape, load, renumbered, save
from tapedeck.connectors.recorded.window import Window, inbox, stretch
from tapedeck.schemas.codec import decode
from tapedeck.schemas.errors import DeadLetter, Fatal
from tapedeck.streams.blocks import Source
from tapedeck.streams.config.document import Config
from tapedeck.streams.identity import RULES_VERSION
from tapedeck.streams.protocol import Message
from tapedeck.streams.sessions import Calendar, iso_utc
from tapedeck.streams.topology import Topology
from tapedeck.streams.watermarks import PUNCTUATION_HEADERS
from tapedeck.tape.record.digests import Differs, Left, differences, expected, rebuilt, simulated
from tapedeck.topics.catalogue import WATERMARK_KEY, topic

_UPDATE = "if the rules changed on purpose, recompute its digests with `tape record --update`"


def record(
    topology: Topology,
    source: Source,
    window: Window,
    config: Config,
    calendar: Calendar,
    *,
    name: str,
    note: str = "",
    symbols: Sequence[str] = (),
    accounts: Sequence[str] = (),
) -> RecordedTape:
    """The tape of ``window`` with its digests. Empty ``symbols`` keeps all; ``accounts`` adds their inboxes.

    Raises Fatal for a symbol without a bar or an account with an empty inbox, ConfigInvalid for an account
    that is not configured.
    """
    opened = bool(topology.optional)
    found = cut(
        source, window, config, name=name, note=note, symbols=symbols, accounts=accounts, opened=opened
    )
    return with_digests(topology, found, calendar)


def cut(
    source: Source,
    window: Window,
    config: Config,
    *,
    name: str,
    note: str = "",
    symbols: Sequence[str] = (),
    accounts: Sequence[str] = (),
    opened: bool = False,
) -> RecordedTape:
    """The tape of ``record`` without digests. ``opened`` as for ``stretch``."""
    wanted = frozenset(symbols) or None
    messages = [_bare(m) for each in stretch(source, window, wanted, opened=opened) for m in each.messages]
    found = {(m.key or b"").decode(errors="replace") for m in _records(messages) if m.topic == "bars"}
    if wanted is not None and (absent := sorted(wanted - found)):
        there = ", ".join(sorted({(m.key or b"").decode() for m in _bars(source, window)})) or "none"
        raise Fatal("the window has no bar of this symbol", value=absent[0], remedy=f"there are: {there}")
    for account_id in accounts:
        own = [_bare(m) for m in inbox(source, config.account(account_id).account_id, window.end)]
        if not own:
            remedy = "name an account whose dispatcher ran, or leave out --account"
            raise Fatal("the account's inbox is empty", value=account_id, remedy=remedy)
        messages += own
    layout = source.layout
    manifest = Manifest(
        format=FORMAT,
        name=name,
        note=note,
        origins=tuple(sorted(_origins(messages))),
        history=iso_utc(window.history),
        start=iso_utc(window.start),
        end=iso_utc(window.end),
        symbols=tuple(sorted(found)),
        accounts=tuple(accounts),
        symbol_partitions=layout.symbol_partitions,
        account_partitions=layout.account_partitions,
        rules_version=RULES_VERSION,
        config_digest=config.digest,
        records=dict(sorted(Counter(m.topic for m in _records(messages)).items())),
        size=0,
        sha256="",
        topics={},
        tables={},
        config=config.parameters(),
    )
    return RecordedTape(manifest, renumbered(messages))


def with_digests(topology: Topology, tape: RecordedTape, calendar: Calendar) -> RecordedTape:
    """The tape with digests under the current rules. Raises Fatal if nothing comes out."""
    left = rebuilt(topology, tape, calendar)
    _refuse_nothing(tape, left)
    today = {
        "rules_version": RULES_VERSION,
        "config_digest": tape.config.digest,
        "config": tape.config.parameters(),
        "topics": left.topics,
        "tables": left.tables,
    }
    return RecordedTape(tape.manifest.model_copy(update=today), tape.messages)


def update(topology: Topology, folder: Path, calendar: Calendar) -> list[Differs]:
    """Recompute the digests of a tape; returns what changed."""
    tape = load(folder)
    fresh = with_digests(topology, tape, calendar)
    save(folder, fresh)
    return differences(topology, expected(tape), expected(fresh))


def check(topology: Topology, tape: RecordedTape, calendar: Calendar) -> dict[str, list[Differs]]:
    """Per driver, rebuild and sim, where the tape's digests are not those of its manifest.

    Raises Fatal if this version has other rules or another configuration than the tape, or if nothing comes
    out.
    """
    manifest = tape.manifest
    if manifest.rules_version != RULES_VERSION:
        raise Fatal("the tape was decided under other rules", value=manifest.rules_version, remedy=_UPDATE)
    if manifest.config_digest != tape.config.digest:
        what = f"the digest of the tape's configuration changed to {tape.config.digest}"
        raise Fatal(what, value=manifest.config_digest, remedy=_UPDATE)
    _refuse_nothing(tape, expected(tape))
    return {
        driver: differences(topology, expected(tape), left(topology, tape, calendar))
        for driver, left in (("rebuild", rebuilt), ("sim", simulated))
    }


def _refuse_nothing(tape: RecordedTape, left: Left) -> None:
    """A tape without any output or table value would agree with everything."""
    if not any(each.count for digests in (left.topics, left.tables) for each in digests.values()):
        raise Fatal(
            "the tape produces no output and no table, so its digests would prove nothing",
            value=tape.manifest.name,
            remedy=f"it holds {dict(tape.manifest.records) or 'no record'}: record one with regular bars",
        )


def _bare(message: Message) -> Message:
    """A record without the headers about the run that wrote it."""
    return message._replace(headers=tuple(h for h in message.headers if h[0] in PUNCTUATION_HEADERS))


def _records(messages: Iterable[Message]) -> Iterator[Message]:
    return (m for m in messages if m.key != WATERMARK_KEY)


def _bars(source: Source, window: Window) -> Iterator[Message]:
    slices = stretch(source, window)
    return (m for each in slices for m in _records(each.messages) if m.topic == "bars")


def _origins(messages: Iterable[Message]) -> set[str]:
    """The origins of the tape's market data, from its records."""
    found = set()
    for message in _records(messages):
        try:
            body = decode(topic(message.topic).schema or "", message.value)
        except DeadLetter:
            continue
        if "origin" in body:
            found.add(str(body["origin"]))
    return found
