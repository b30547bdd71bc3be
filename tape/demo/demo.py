"""One session through a fresh local stack, phase by phase: start, play, settle, read, rebuild, stop."""

import json
import os
import re
import secrets
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import Self

from tapedeck.agents.settings import code_version
from tapedeck.connectors.config_file import load
from tapedeck.connectors.kafka.acls import INGEST, OPERATOR
from tapedeck.connectors.postgres.counts import rows_per_table
from tapedeck.connectors.postgres.offsets import lag
from tapedeck.connectors.tapes.player import Pace
from tapedeck.connectors.tapes.source import TapeSource
from tapedeck.connectors.tapes.tape import Tape
from tapedeck.schemas.errors import Fatal, Retry, TapeError
from tapedeck.streams.config.document import Config
from tapedeck.streams.sessions import iso_date, iso_utc, xnys
from tapedeck.streams.wire import Origin
from tapedeck.tape.cli.file_options import progress
from tapedeck.tape.demo.news import news_told
from tapedeck.tape.demo.summary import (
    Summary,
    account_told,
    conflicts_in,
    failures,
    letters_in,
    look_at,
    regular_bars,
    synthetic_records,
)
from tapedeck.tape.digests import digest_lines
from tapedeck.tape.funnel import funnel
from tapedeck.tape.interrupts import ignore_stops
from tapedeck.tape.local import plan, state
from tapedeck.tape.local.places import say, size_of
from tapedeck.tape.local.purge import purge
from tapedeck.tape.local.stack import LocalStack
from tapedeck.tape.local.status import log_files
from tapedeck.tape.local.supervisor import Worker
from tapedeck.tape.playing import play_tape
from tapedeck.tape.recording import Bounds, bounds_now, read_recording

SUMMARY = "summary.json"
_SETTLE_S = 60.0
_QUIET_S = 0.5
_LOOK_S = 0.25
_TROUBLE = re.compile(rb"\b(ERROR|CRITICAL|Traceback)\b")


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """What to show. ``minutes`` plays only the first ones; a whole synthetic session must give orders."""

    folder: Path
    source: TapeSource
    minutes: int | None = None
    secure: bool = False

    @property
    def orders_due(self) -> bool:
        return self.source.seed is not None and self.minutes is None


class Demo:
    """A demo's tape, stack and phases. Entering reads the tape and starts a fresh stack; leaving stops it."""

    tape: Tape

    def __init__(self, wanted: Wanted) -> None:
        self.wanted = wanted
        self.timings: dict[str, float] = {}
        named = "KAFKA_BOOTSTRAP_SERVERS" in os.environ or "DATABASE_URL" in os.environ
        prefix = f"demo{secrets.token_hex(4)}" if named else ""
        self.stack = LocalStack(wanted.folder, prefix=prefix, workers=self._workers, secure=wanted.secure)
        self.topology = self.stack.topology

    def __enter__(self) -> Self:
        with self._timed("tape"):
            self.tape = self._tape()
        self._clear()
        with self._phase("start"):
            self.stack.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        ignore_stops()
        say("stopping; the workers drain, which takes at most 10 s")
        with self._timed("stop"):
            self.stack.stop()

    def run(self) -> Summary:
        """Play the tape and collect what happened. Raises Fatal, naming logs, if a phase fails."""
        config, tape = load(self.stack.config_path), self.tape
        with self._phase("play"):
            self._play(config)
        with self._phase("settle"):
            bounds, rows = self._settle()
        with self._phase("read"):
            say("reading every topic again")
            recording = read_recording(self.topology, self.stack.cluster_for(OPERATOR), bounds)
            lines = funnel(self.topology, recording, config, xnys())
        with self._phase("rebuild"):
            say("recomputing every stage from its source topics")
            digests = list(digest_lines(self.topology, recording, config, xnys(), rebuild=True))
        summary = Summary(
            tape={
                "name": tape.name,
                "origin": tape.origin,
                "session": str(iso_date(tape.session)),
                "hours": _hours(tape.session),
                "minutes": len(tape.minutes),
                "notes": tape.notes,
            },
            config_digest=config.digest,
            records={name: found.records for name, found in recording.topics.items()},
            events=recording.events(),
            rows=rows,
            synthetic=synthetic_records(recording),
            funnel=lines,
            accounts=[account_told(recording, account) for account in config.accounts],
            digests=digests,
            regular_bars=regular_bars(recording, tape.session, xnys()),
            conflicts=conflicts_in(recording),
            letters=letters_in(recording),
            look_at=look_at(recording),
            news=news_told(recording),
        )
        summary.failures = failures(
            summary, orders_due=self.wanted.orders_due, exits_due=self.wanted.orders_due
        )
        self.write(summary)
        return summary

    def hold(self) -> None:
        """Keep the stack running until the process is interrupted. Raises Fatal if it cannot go on."""
        with suppress(KeyboardInterrupt):
            while True:
                time.sleep(_LOOK_S)
                self.stack.watch()

    def write(self, summary: Summary) -> None:
        """Write ``summary.json`` with the timings so far and the size of the folder."""
        summary.timings = self.timings
        summary.bytes_on_disk = size_of(self.wanted.folder)
        summary.write(self.wanted.folder / SUMMARY)

    def _clear(self) -> None:
        """Remove what an earlier demo left. Raises Fatal if its stack still runs."""
        known = state.read(self.wanted.folder)
        if known is not None and known.is_running:
            raise Fatal(
                "an earlier demo's stack still runs",
                value=str(self.wanted.folder),
                remedy=f"stop it with `tape down --name {self.wanted.folder.name}`",
            )
        purge(self.wanted.folder)

    def _tape(self) -> Tape:
        tape = self.wanted.source.load(progress())
        if self.wanted.minutes is not None:
            tape = replace(tape, minutes=tape.minutes[: self.wanted.minutes])
        return tape

    def _play(self, config: Config) -> None:
        stack = self.stack
        play_tape(
            self.topology,
            self.tape,
            Pace.parse("max"),
            stack.cluster_for(INGEST),
            Origin("play", code_version(), config.digest),
            exchange=stack.exchange_url,
            stages=tuple(f"dispatch-{account.account_id}" for account in config.accounts),
            meanwhile=stack.watch,
        )

    def _settle(self) -> tuple[Bounds, dict[str, int]]:
        """Wait until no topic grows and the sink has stored everything: the ends of all topics, and the rows.

        Raises Retry, saying what is behind, if that does not happen in time.
        """
        stack, until = self.stack, time.monotonic() + _SETTLE_S
        cluster = stack.cluster_for(OPERATOR)
        say("waiting until the dispatchers are idle and Postgres has everything")
        while True:
            before = bounds_now(self.topology, cluster)
            found = lag(stack.database_url, cluster)
            rows = rows_per_table(stack.database_url, cluster)
            stack.watch()
            time.sleep(_QUIET_S)
            behind = {name: n for name, n in found.items() if n}
            if not behind and bounds_now(self.topology, cluster) == before:
                return before, {name: found.now for name, found in rows.items()}
            if time.monotonic() > until:
                raise Retry(
                    f"the stack was still busy after {_SETTLE_S:g} s",
                    value=behind or "topics that are still growing",
                    remedy="look at the logs of the sink (Postgres) and the dispatchers (accounts' topics)",
                )

    def _workers(self, config: Config) -> Sequence[Worker]:
        """The plan's workers. The paper exchange serves the tape being played."""
        source = replace(self.wanted.source, feed=config.bars.feed)
        market = {"TAPE_EXCHANGE_MARKET": json.dumps(source.description())}
        return [
            replace(worker, env={**worker.env, **market}) if worker.name == "exchange" else worker
            for worker in plan.workers(self.topology, config)
        ]

    @contextmanager
    def _phase(self, name: str) -> Iterator[None]:
        """Time one phase. An error in it names the logs to read."""
        try:
            with self._timed(name):
                yield
        except TapeError as error:
            what, folder = f"the demo failed in phase {name}: {error}", str(self.wanted.folder)
            if folder in str(error):
                raise Fatal(what) from error
            logs = ", ".join(str(path) for path in self._trouble()) or f"{folder}/logs"
            raise Fatal(what, remedy=f"read {logs}") from error

    @contextmanager
    def _timed(self, name: str) -> Iterator[None]:
        began = time.monotonic()
        try:
            yield
        finally:
            self.timings[name] = round(time.monotonic() - began, 2)

    def _trouble(self) -> list[Path]:
        """The logs that contain an error."""
        files = log_files(self.wanted.folder, None).values()
        return [path for path in files if _TROUBLE.search(path.read_bytes())]


def _hours(session: int) -> str:
    """The regular hours of a session, in words."""
    found = xnys().session_on(session)
    return "the exchange is closed" if found is None else f"{iso_utc(found.open)} to {iso_utc(found.close)}"
