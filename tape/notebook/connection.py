"""The notebook's functions: ``tap``, ``asof``, ``topics``, ``schema`` and ``explain`` of a connection."""

import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Literal, overload

import polars as pl

from tapedeck.connectors.clock import SystemClock
from tapedeck.schemas.codec import foreign_in_words, take_foreign
from tapedeck.schemas.errors import Fatal
from tapedeck.streams.blocks import Source
from tapedeck.tape.notebook import asof, audit, place, times, views
from tapedeck.tape.notebook.decoding import Reader, RecordsLeftOut
from tapedeck.tape.notebook.follow import follow as following
from tapedeck.tape.notebook.place import Place
from tapedeck.tape.notebook.query import NotKept, Query, ask, asked_us, chosen_columns, newest_us
from tapedeck.tape.notebook.raw import raw_frame
from tapedeck.tape.notebook.times import When, Zone
from tapedeck.tape.timed import TimedSource
from tapedeck.tape.topology import topology_in_use
from tapedeck.topics.catalogue import Cleanup

if TYPE_CHECKING:
    from tapedeck.tape.backtest.frames import Result
    from tapedeck.tape.desk.held import WhyHeld
    from tapedeck.tape.explain.explanation import Explanation
    from tapedeck.tape.why.report import Why

Names = str | Iterable[str]
LATE = timedelta(days=7)
"""How much later than its own time a record may be in the log: a new symbol's history is written with its
first live bar, and markets have been closed for a week."""
_POLL_S = 0.25


class OtherTimes(UserWarning):
    """Kafka's times of a topic are not the times of its records."""


class Connection:
    """One cluster and topic prefix to read from. Each call opens its own connections and closes them.

    It writes nothing, and creates or disturbs no consumer group.
    """

    def __init__(
        self,
        bootstrap: str | None = None,
        prefix: str | None = None,
        database: str | None = None,
        source: Source | None = None,
    ) -> None:
        self._bootstrap, self._prefix, self._database, self._source = bootstrap, prefix, database, source

    def __repr__(self) -> str:
        given = {"bootstrap": self._bootstrap, "prefix": self._prefix}
        said = [f"{name}={value!r}" for name, value in given.items() if value is not None]
        said += [f"source={type(self._source).__name__}"] if self._source is not None else []
        return f"td.connect({', '.join(said)})"

    @overload
    def tap(
        self,
        name: str,
        *,
        symbols: Names | None = None,
        since: When | None = None,
        until: When | None = None,
        columns: Names | None = None,
        zone: Zone = "UTC",
        follow: Literal[False] = False,
        raw: bool = False,
        repeats: bool = False,
        late: timedelta | str | None = LATE,
    ) -> pl.DataFrame: ...

    @overload
    def tap(
        self,
        name: str,
        *,
        symbols: Names | None = None,
        since: When | None = None,
        columns: Names | None = None,
        zone: Zone = "UTC",
        follow: Literal[True],
        repeats: bool = False,
    ) -> Iterator[pl.DataFrame]: ...

    def tap(
        self,
        name: str,
        *,
        symbols: Names | None = None,
        since: When | None = None,
        until: When | None = None,
        columns: Names | None = None,
        zone: Zone = "UTC",
        follow: bool = False,
        raw: bool = False,
        repeats: bool = False,
        late: timedelta | str | None = LATE,
    ) -> pl.DataFrame | Iterator[pl.DataFrame]:
        """The records of one topic as a polars frame, in the order of their time.

        >>> frame = td.tap("features", symbols=["AMD", "WMT"], since="2h", columns=["symbol", "t", "rsi14"])
        >>> frame.schema["t"]
        Datetime(time_unit='us', time_zone='UTC')
        >>> bars = td.tap("bars", since="2026-03-10", until="2026-03-11", zone="America/New_York")
        >>> bars.to_pandas()  # needs the extra `notebook`  # doctest: +SKIP

        Columns are those of ``td.schema(name)``, then ``_partition`` and ``_offset``: times are
        Datetime("us", zone), dates Date, decimals Decimal(scale=6), enums Enum, nested records Struct.

        symbols: only these; other records are not decoded. Every partition is read, so a record that a
            producer wrote into the wrong partition is in the frame, with one warning.
        since, until: from (inclusive) and up to (exclusive). A datetime with a zone; a date, which is its
            midnight in New York, so that a session is between two dates; ISO 8601 with a zone; or "90s",
            "30min", "2h", "1d" and timedeltas, counted back from the topic's newest record. They use
            the broker's time index, so only the requested range is read. If Kafka's times are not the
            records' (LogAppendTime, a producer without times), the whole partition is read, with one warning.
        columns: only these, in this order.
        zone: of the frame's times, as text, ZoneInfo or timezone.utc; the records are UTC.
        follow: return an iterator of frames as records arrive, from ``since`` or from now on.
            Closing it, or interrupting the cell, closes its connections.
        raw: the stored records: time, key, value, headers; watermarks and undecodable records included.
        repeats: True keeps records that were written twice (same event_id); by default the frame has each
        once. late: how much later than ``until`` a record of that time may be in the log; None reads to its
        end.

        Raises Fatal for an unknown topic, column or symbol, with the nearest name, and for a time that is no
        longer kept, with the earliest time that is. Undecodable records are left out, with one warning.
        """
        with self._opened(keep=follow) as at:
            if raw:
                _refuse_with_raw(symbols=symbols, columns=columns, follow=follow)
                return raw_frame(at.source, name, since=since, until=until, zone=zone, late=late)
            query = ask(
                at.source, name, symbols=symbols, since=since, until=until, columns=columns, zone=zone,
                late=late, repeats=repeats,
            )  # fmt: skip
            reader = Reader(at.source, query)
            if not follow:
                return reader.whole()
            if until is not None:
                raise Fatal("following has no end", value=until, remedy="leave out until or follow")
            return following(at.source, reader, at.close, _POLL_S)

    def asof(
        self,
        name: str,
        at: When,
        *,
        key: Names | None = None,
        since: When | None = None,
        columns: Names | None = None,
        zone: Zone = "UTC",
    ) -> pl.DataFrame:
        """The newest record of each key with a time of ``at`` or before: what a compacted topic held then.

        >>> td.asof("positions", at="1h").select("account_id", "instrument", "qty")  # doctest: +SKIP
        >>> newest = td.asof("features", at="2026-03-10T10:00-04:00", columns=["symbol", "t", "close"])

        at: as ``since`` of ``td.tap``, but inclusive.
        key: the key columns, if not the record key that ``td.topics()`` shows.
        since: how far back to look, if only keys written since then matter.

        Before a topic's compaction lag or retention, the answer comes from Postgres, if a database is named
        or the local stack has one. Raises Fatal, saying what is kept, if neither reaches back so far.
        """
        with self._opened() as where:
            source = where.source
            query = ask(
                source, name, symbols=None, since=since, until=None, columns=columns, zone=zone,
                late=LATE, repeats=False,
            )  # fmt: skip
            moment = asked_us(source, name, at, "at") or 0
            query = query.between(query.since, moment + 1)
            try:
                return _newest(where, query) if key is None else _newest_by(where, query, key)
            except NotKept:
                if key is not None or where.database is None:
                    raise
                return audit.newest(where.database, where.layout.prefix, query, moment)

    def topics(self) -> pl.DataFrame:
        """The topics with record counts, first and last time, key, retention and writer.

        >>> td.topics().filter(pl.col("records") > 0).select("topic", "key").row(0)
        ('bars', 'symbol')
        """
        with self._opened() as at:
            return views.listed(at.source)

    def schema(self, name: str) -> views.Schema:
        """The columns of one topic: type and meaning. Needs no cluster.

        >>> td.schema("bars")["t"].doc
        'left edge of the minute'
        """
        return views.Schema(name)

    def explain(self, id: str, *, depth: int | None = None, everything: bool = False) -> "Explanation":
        """Why an order, a signal, a proposal or any record exists: its inputs, back to the bars.

        id: a client or broker order id, a signal_id, ``account|signal_id`` or an event_id; eight or more of
            its first characters are enough.
        depth, everything: how many levels to show, and whether to show folded inputs.

        >>> td.explain(td.tap("signals")["signal_id"][0])  # doctest: +SKIP
        """
        from tapedeck.tape.explain.explanation import explain_from  # noqa: PLC0415 - costs every stage's import

        with self._opened() as at:
            return explain_from(
                topology_in_use(), at.source, at.document(), id, depth=depth, everything=everything
            )

    def why(self, symbol: str, *, at: When | None = None, account: str | None = None) -> "Why":
        """Why there was no trade in ``symbol``: where each minute ended, and by how much it missed.

        ``at``: one minute, by the left edge of its bar; "11:14" is New York time on the newest session.
        Without it, the whole newest session. ``account``: only its gates.

        >>> td.why("AMD", at="11:14")  # doctest: +SKIP
        >>> td.why("AMD", at="2026-02-17T11:14-05:00")  # doctest: +SKIP
        """
        from tapedeck.tape.why.report import why_from  # noqa: PLC0415 - costs every stage's import

        with self._opened() as where:
            source, moment = where.source, self._minute(where.source, at)
            return why_from(topology_in_use(), source, where.document(), symbol, at=moment, account=account)

    def _minute(self, source: Source, at: When | None) -> int | None:
        """``at`` in UTC microseconds; a time of day is New York's on the newest session."""
        from tapedeck.streams.sessions import xnys  # noqa: PLC0415 - costs every stage's import
        from tapedeck.tape.explain.lookup import Lookup  # noqa: PLC0415 - see above
        from tapedeck.tape.why.symbol_tape import is_of_day, newest_session, time_of  # noqa: PLC0415 - see above

        if isinstance(at, str) and is_of_day(at):
            return time_of(at, lambda: newest_session(Lookup(source), xnys()))
        return None if at is None else times.moment(at, "at", lambda: newest_us(source, "bars"))

    def why_held(self, symbol: str, *, at: When | None = None, account: str | None = None) -> "WhyHeld":
        """Why what is held of ``symbol`` is not closed: what each exit rule lacks, and how its close stands.

        ``symbol``: an underlying, an instrument or a position id. ``at``: a time, default the newest record;
        "15:50" is New York time on the newest session. ``account``: only this one.

        >>> td.why_held("AMD", at="15:50")  # doctest: +SKIP
        """
        from tapedeck.tape.desk.held import why_held  # noqa: PLC0415 - costs every stage's import

        with self._opened() as where:
            moment = self._minute(where.source, at)
            return why_held(where.source, where.document(), symbol, at=moment, account=account)

    @property
    def backtest(self) -> "Callable[..., Result]":
        """What the rules would have earned on a tape: ``backtest(tape, since=, until=, config=, ...)``.

        Needs no cluster. ``tape``: a file, a folder of files, a recorded folder, or "synthetic". ``since``
        and ``until``: the first and the last session, both inclusive. ``config``: a document or its path;
        ``accounts``: only these; ``regime`` and ``earnings``: files as of ``tape ingest``. Returns figures
        and frames: ``accounts``, ``groups``, ``sessions``, ``trades``, ``equity``, ``funnel``,
        ``records("orders")``; ``report(path)`` writes the page.

        >>> found = td.backtest("bars.parquet", since="2026-02-17", until="2026-03-02")  # doctest: +SKIP
        >>> found.trades.group_by("exit_reason").agg(pl.col("net").sum())  # doctest: +SKIP
        """
        from tapedeck.tape.backtest.frames import backtest  # noqa: PLC0415 - costs every stage's import

        return backtest

    def environment(self) -> dict[str, str]:
        """The variables by which a command of ``tape`` finds the same cluster, prefix and database.

        >>> where = os.environ | td.connect().environment()  # doctest: +SKIP
        >>> subprocess.run(["tape", "digest"], env=where)  # doctest: +SKIP
        """
        with self._opened() as at:
            return at.environment()

    @contextmanager
    def _opened(self, keep: bool = False) -> Iterator[Place]:
        """The place, closed at the end; ``keep``: only after an error."""
        if self._source is not None:
            at = Place(self._source, database=self._database)
        else:
            at = place.find(self._bootstrap, self._prefix, self._database)
        said: list[str] = []
        at = at._replace(source=TimedSource(at.source, said.append))
        done = False
        try:
            yield at
            done = True
        finally:
            if not (keep and done):
                at.close()
            for odd_times in said:
                warnings.warn(odd_times, OtherTimes, stacklevel=4)
            if words := foreign_in_words(take_foreign()):
                warnings.warn(words, RecordsLeftOut, stacklevel=4)


def _refuse_with_raw(**given: object) -> None:
    for name, value in given.items():
        if value:
            raise Fatal(
                f"raw records have no {name}", value=value, remedy="filter the raw frame, or leave out raw"
            )


def _newest(where: Place, query: Query) -> pl.DataFrame:
    """By the record key."""
    found = asof.by_record_key(where.source, query)
    if query.topic.cleanup is Cleanup.COMPACT and not found.whole:
        assert query.until is not None
        lag = where.compaction_lag(query.topic.name)
        asof.refuse_compacted(query.topic, query.until - 1, lag, SystemClock().now())
    return asof.frame_of(Reader(where.source, query), found.messages)


def _newest_by(where: Place, query: Query, key: Names) -> pl.DataFrame:
    """By columns, for which every record is decoded."""
    keys = chosen_columns(key, query.fields, query.topic.name)
    whole = Reader(
        where.source, replace(query, columns=tuple(dict.fromkeys((*query.columns, *keys))))
    ).whole()
    return whole.unique(keys, keep="last", maintain_order=True).select(query.columns)


class Default:
    """The connection that ``td.tap`` and the others use: the one made last by ``td.connect``."""

    def __init__(self) -> None:
        self.connection = Connection()

    def connect(
        self,
        bootstrap: str | None = None,
        prefix: str | None = None,
        database: str | None = None,
        *,
        source: Source | None = None,
    ) -> Connection:
        """Set the cluster, topic prefix and database that ``td.tap`` and the others read from.

        Without arguments: those of KAFKA_BOOTSTRAP_SERVERS, TAPE_PREFIX and DATABASE_URL, else the local
        stack that runs in this folder or one above it. ``source`` replaces a cluster. The
        connection has the same methods, so that two can be compared:

        >>> live, trial = td.connect(), td.connect(prefix="trial")  # doctest: +SKIP
        >>> live.tap("signals").join(trial.tap("signals"), on="signal_id", how="anti")  # doctest: +SKIP
        """
        self.connection = Connection(bootstrap, prefix, database, source)
        return self.connection


default: Default = Default()
