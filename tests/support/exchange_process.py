"""A paper exchange in a process of its own, whose clock its client moves by microseconds.

``ExchangeProcess`` starts it, talks to it over HTTP and, at its end, has what it kept: its books, its own log
of calls, and what passed a limit of an account at any moment.
"""

import asyncio
import json
import pickle
import subprocess
import sys
from collections import Counter, deque
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any

import requests

from tapedeck.connectors.paper.book import TIER_CASH, Book, PaperAccount
from tapedeck.connectors.paper.door import Entry
from tapedeck.connectors.paper.exchange import PaperExchange
from tapedeck.connectors.paper.faults import Fault, Faults
from tapedeck.connectors.paper.server import PaperServer
from tapedeck.connectors.paper.tempers import Profile, temper
from tapedeck.streams.sessions import xnys
from tests.support.cases import REPOSITORY
from tests.support.judge import Watch
from tests.support.paths import CONFIG
from tests.support.sim_tapes import small_tape

CALLS_PER_MINUTE = 200
_ANSWER_S = 60.0


@dataclass
class KeptDoor:
    """The exchange's own log of calls about orders, and who called too early."""

    journal: deque[Entry]
    early: Counter[str]


@dataclass
class Kept:
    """What an exchange leaves at its end."""

    books: dict[str, Book]
    door: KeptDoor
    fired: Counter[Fault]
    broken: list[str]
    highest: dict[tuple[str, str], Decimal] = field(default_factory=dict)


class MovedClock:
    """A clock that only its client moves: the label of a move is the moment itself."""

    runs_at = 0.0

    def __init__(self, now: int) -> None:
        self._now = now

    def now(self) -> int:
        return self._now

    def advance(self, label: int) -> None:
        self._now = max(self._now, label)


class ExchangeProcess:
    """The exchange of the accounts of ``CONFIG`` over the small tape, from ``first`` on."""

    def __init__(self, folder: Path, *, seed: int, profile: Profile, first: int) -> None:
        self._kept = folder / "kept.pickle"
        words = [json.dumps({"seed": seed, "profile": profile, "first": first}), str(self._kept)]
        self._log = (folder / "exchange.log").open("wb")
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.support.exchange_process", *words],
            cwd=REPOSITORY, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._log, text=True,
        )  # fmt: skip
        assert self._process.stdout is not None
        self.url = self._process.stdout.readline().strip()
        assert self.url.startswith("http"), (folder / "exchange.log").read_text()
        self.now = first
        self._session = requests.Session()

    def advance(self, now: int) -> None:
        """Move its clock to ``now``."""
        if now > self.now:
            self.now = self._told("advance", {"label": now})["now"]

    def calm(self) -> None:
        """From here on nothing goes wrong by chance."""
        self._told("faults", {"temper": Profile.CALM})

    def cut_at(self, event: str, seconds: float) -> None:
        """Cut the stream of trade updates in place of the next update of this kind, for so long."""
        self._told("faults", {"fault": Fault.STREAM_CUT, "operation": event, "seconds": seconds})

    def _told(self, what: str, body: dict[str, Any]) -> dict[str, Any]:
        answer = self._session.post(f"{self.url}/_paper/{what}", json=body, timeout=_ANSWER_S)
        answer.raise_for_status()
        found: dict[str, Any] = answer.json()
        return found

    def end(self) -> Kept:
        """Stop it; what it kept."""
        self._hang_up()
        assert self._process.wait(30) == 0
        found = pickle.loads(self._kept.read_bytes())
        assert isinstance(found, Kept)
        return found

    def _hang_up(self) -> None:
        """It ends when nobody speaks to it any more: it does not outlive the test."""
        assert self._process.stdin is not None
        self._process.stdin.close()

    def close(self) -> None:
        """It is gone, whatever happened."""
        if self._process.poll() is None:
            self._process.kill()
            self._process.wait(10)
        self._session.close()
        self._log.close()


def key_of(account_id: str) -> tuple[str, str]:
    """Key and secret of an account there."""
    return f"key-{account_id}", f"secret-{account_id}"


async def serve(paper: PaperExchange, watch: Watch, kept: Path) -> None:
    """Serve until the other side hangs up, then write what is kept."""
    stop = asyncio.Event()
    asyncio.get_running_loop().add_reader(sys.stdin.fileno(), stop.set)
    server = PaperServer(paper, MovedClock(paper.now))
    await server.start()
    print(server.url, flush=True)
    await stop.wait()
    await server.stop()
    found = Kept(
        dict(paper.books),
        KeptDoor(paper.door.journal, paper.door.early),
        paper.faults.fired,
        watch.broken,
        watch.highest,
    )
    kept.write_bytes(pickle.dumps(found))


def main(asked: str, kept: str) -> None:
    told = json.loads(asked)
    accounts = [
        PaperAccount(each.broker_account_id, *key_of(each.account_id), Decimal(TIER_CASH[each.tier]))
        for each in CONFIG.accounts
    ]
    paper = PaperExchange(
        small_tape().market,
        xnys(),
        accounts,
        now=told["first"],
        seed=told["seed"],
        faults=Faults(temper(Profile(told["profile"]), told["seed"])),
        calls_per_minute=CALLS_PER_MINUTE,
    )
    asyncio.run(serve(paper, Watch(paper, CONFIG.accounts), Path(kept)))


if __name__ == "__main__":
    # As an imported module, so that what is pickled is found by its name.
    from tests.support.exchange_process import main as run

    run(*sys.argv[1:])
