"""Sessions in a row on one local stack, a process killed on each day: what they take, and that all agrees.

    python -m tests.bench.bench_days [--sessions 10]

Commands are run as people run them. Each session one process is killed with SIGKILL near noon in New York,
the player too; half-way the stack is stopped and started again. At the end every stage is computed again and
compared, and positions are compared with the exchange's. A session takes two to three minutes on two cores.
"""

import argparse
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import date
from decimal import Decimal
from pathlib import Path

import psutil
import requests

from tapedeck.connectors.kafka.scan import read_topic
from tapedeck.schemas.codec import decode
from tapedeck.schemas.errors import Fatal
from tapedeck.streams.protocol import MINUTE_US
from tapedeck.streams.sessions import day_number, iso_date, xnys
from tapedeck.tape.local import state
from tapedeck.tape.local.places import say, size_of
from tapedeck.tape.local.process import tail
from tapedeck.tape.local.purge import purge
from tapedeck.tape.local.state import StackState
from tapedeck.tape.status.lines import lags
from tests.bench.report import Row, Table, machine
from tests.support.cases import REPOSITORY
from tests.support.wide import wide_config

FIRST = date(2026, 2, 17)
SEED = 7
KILLED = ("exchange", "features", "dispatch-large", "decide", "sink", "dispatch-tiny", "play")
"""One each day, in turn. Kafka and Postgres are servers: a stack whose server died stops by itself."""
_NOON = 150 * MINUTE_US
_MB = 1 << 20
_LOOK_S = 0.5
_PATIENCE_S = 3600.0
_REST_S = 120.0
_ERROR = re.compile(rb"\b(ERROR|CRITICAL|Traceback)\b")


class Days:
    """One stack and its sessions."""

    def __init__(self, folder: Path, count: int) -> None:
        self.folder, self._config = folder / "stack", folder / "wide.toml"
        self._config.write_text(wide_config().to_toml())
        first = day_number(FIRST)
        self.sessions = xnys().between(first, first + 2 * count + 10)[:count]

    @property
    def known(self) -> StackState:
        return state.running(self.folder)

    def run(self) -> Iterator[Row]:
        """Play every session, then compare."""
        self.command("up", "-d")
        disk = 0
        for number, session in enumerate(self.sessions):
            day, began = iso_date(session.date), time.monotonic()
            killed = KILLED[number % len(KILLED)]
            self._play(day, session.open + _NOON, killed)
            self._rest()
            size, held = size_of(self.folder), self._memory()
            note = f"{killed} killed, {held / _MB:,.0f} MB in memory, {time.monotonic() - began:.0f} s"
            yield Row(f"disk of {day}", (size - disk) / _MB, "MB", note=note)
            disk = size
            if number == len(self.sessions) // 2 - 1:
                self.command("down")
                self.command("up", "-d")
        yield from self._agreement()

    def command(self, *words: str) -> str:
        """Run a command to its end; what it printed. Raises Fatal, quoting it, where it fails."""
        code, said = self._ended(*self._started(*words))
        if code:
            raise Fatal(f"`tape {' '.join(words)}` ended with {code}:\n{said[-2000:]}")
        return said

    def stop(self) -> None:
        self.command("down")
        purge(self.folder)

    @staticmethod
    def _ended(process: subprocess.Popen[bytes], log: Path) -> tuple[int, str]:
        return process.wait(_PATIENCE_S), log.read_text()

    def _started(self, *words: str) -> tuple[subprocess.Popen[bytes], Path]:
        say(f"tape {' '.join(words)}")
        log = self._config.with_name(f"{words[0]}.log")
        named = {"TAPE_HOME": str(self.folder), "TAPE_CONFIG": str(self._config)}
        with log.open("wb") as out:
            argv = [sys.executable, "-m", "tapedeck", *words]
            env = os.environ | named
            return subprocess.Popen(argv, env=env, cwd=REPOSITORY, stdout=out, stderr=out), log

    def _play(self, day: date, at: int, name: str) -> None:
        words = ("play", "--synthetic", "--seed", str(SEED), "--sessions", f"{FIRST}..{day}")
        process, log = self._started(*words)
        while self._time() < at:
            if process.poll() is not None:
                raise Fatal(f"`tape {' '.join(words)}` ended before noon:\n{tail(log, 20)}")
            time.sleep(_LOOK_S)
        self._kill(name, process)
        code, said = self._ended(process, log)
        if name == "play":
            self.command(*words)
        elif code:
            raise Fatal(f"`tape {' '.join(words)}` ended with {code}:\n{said[-2000:]}")

    def _kill(self, name: str, player: subprocess.Popen[bytes]) -> None:
        pids = {each.name: each.pid for each in self.known.processes} | {"play": player.pid}
        os.kill(pids[name], signal.SIGKILL)

    def _time(self) -> int:
        try:
            answer = requests.get(f"{self.known.exchange_url}/_paper/state", timeout=5)
        except requests.RequestException:
            return 0
        return int(answer.json()["now"])

    def _rest(self) -> None:
        """Wait until nobody is behind."""
        until = time.monotonic() + _REST_S
        while any(each.lag != 0 for each in lags(self.known.cluster({}))):
            if time.monotonic() > until:
                raise Fatal("the stack was still busy", value=lags(self.known.cluster({})))
            time.sleep(_LOOK_S)

    def _memory(self) -> int:
        """Resident bytes of all processes of the stack."""
        pids = [each.pid for each in self.known.processes]
        return sum(psutil.Process(pid).memory_info().rss for pid in pids)

    def _agreement(self) -> Iterator[Row]:
        known = self.known
        cluster = known.cluster({})
        code, said = self._ended(*self._started("digest", "--rebuild"))
        different = said.count("DIFFERENT ")
        yield Row("outputs and tables unlike a rebuild", different, "", "0", code == 0)
        letters = len(read_topic(cluster, "dead_letters"))
        yield Row("dead letters", letters, "", "0", letters == 0)
        logs = list((self.folder / "logs").glob("*.log"))
        errors = sum(len(_ERROR.findall(log.read_bytes())) for log in logs)
        yield Row("ERROR lines", errors, "", "0", errors == 0)
        orders = {m.key: decode("orders", m.value) for m in read_topic(cluster, "orders")}
        filled = [order for order in orders.values() if order["state"] == "FILLED"]
        days = {xnys().session_date(order["event_time"]) for order in filled}
        yield Row("days with filled orders", len(days), "", "several", len(days) > 1)
        accounts = {each.broker_account_id: each.account_id for each in wide_config().accounts}
        wrong = [account for number, account in accounts.items() if not self._agrees(number, account)]
        yield Row("accounts whose positions are not the exchange's", len(wrong), "", "0", not wrong)

    def _agrees(self, number: str, account: str) -> bool:
        books = json.loads((self.folder / "exchange" / "books.json").read_text())["books"]
        there = {name: Decimal(at["qty"]) for name, at in books[number]["ledger"]["positions"].items()}
        newest = {}
        for message in read_topic(self.known.cluster({}), "positions"):
            body = decode("positions", message.value)
            if body["account_id"] == account:
                newest[body["instrument"]] = body["qty"]
        return there == {name: qty for name, qty in newest.items() if qty}


@contextmanager
def _stack(count: int) -> Iterator[Days]:
    with tempfile.TemporaryDirectory(prefix="tapedeck-days-") as folder:
        days = Days(Path(folder), count)
        try:
            yield days
        finally:
            days.stop()


def measure(count: int) -> Table:
    """Play ``count`` sessions; a row for each, then what must agree."""
    with _stack(count) as days:
        rows: list[Row] = []
        for row in days.run():
            rows.append(row)
            print(row, flush=True)
    return Table(f"{count} sessions of 28 symbols in a row", tuple(rows))


def main(words: Sequence[str] | None = None) -> int:
    """Run and print; exit code 1 where something does not agree."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.bench_days", description=__doc__)
    parser.add_argument("--sessions", type=int, default=10)
    told = parser.parse_args(words)
    print(machine(), flush=True)
    table = measure(told.sessions)
    print(f"\n{table}")
    return int(any(row.met is False for row in table.rows))


if __name__ == "__main__":
    sys.exit(main())
