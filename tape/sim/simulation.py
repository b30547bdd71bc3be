"""The whole path in memory: a tape through scorer and market stages to dispatchers and paper exchange.

No broker, no threads, no wall clock, no sleeping. The same tape, configuration and seed give the same run,
byte for byte. The log at the end holds every topic. ``chaos`` adds crashes, redelivery and a random order of
work, also by seed.
"""

import random
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from itertools import count

from tapedeck.connectors.controls import EVERY_ACCOUNT, control, write_control
from tapedeck.connectors.dispatch.lease import MemoryLeases
from tapedeck.connectors.dispatch.simulated import SimDispatcher
from tapedeck.connectors.paper.book import TIER_CASH, PaperAccount
from tapedeck.connectors.paper.exchange import PaperExchange
from tapedeck.connectors.paper.faults import Faults as PaperFaults
from tapedeck.connectors.scoring.simulated import SimScorer
from tapedeck.connectors.tapes.marks import standing
from tapedeck.connectors.tapes.openings import OptionalInputs
from tapedeck.connectors.tapes.player import SOURCES, Pace, Player, Standing
from tapedeck.connectors.tapes.tape import Tape
from tapedeck.streams.blocks import MemorySource
from tapedeck.streams.config.document import Config
from tapedeck.streams.digests import OutputDigest, of_messages, of_state
from tapedeck.streams.protocol import MINUTE_US
from tapedeck.streams.sessions import Calendar, xnys
from tapedeck.streams.sim.crash import Crash, Fuse
from tapedeck.streams.sim.log import MemoryLog
from tapedeck.streams.sim.schedule import Faults, run_schedule
from tapedeck.streams.sim.task import SimTask, drain, market_tasks
from tapedeck.streams.stages.account.rules.gate_types import KillState
from tapedeck.streams.topology import Topology
from tapedeck.streams.watermarks import readable_label
from tapedeck.topics.catalogue import CATALOGUE, Layout

_CRASH_SHARE = 0.5
_MAX_FUSE = 60
_MAX_REWIND = 5
_WAIT_S = 1.0
"""The time of one check of an optional input: a silent input is absent after as many checks as live."""


@dataclass
class Chaos:
    """Crashes of a run. ``faults`` counts those of the market stages, ``dispatch`` those of dispatchers,
    ``scoring`` those of the scorer."""

    seed: int
    faults: Faults = field(default_factory=Faults)
    dispatch: Faults = field(default_factory=Faults)
    scoring: Faults = field(default_factory=Faults)

    def __post_init__(self) -> None:
        self.rng = random.Random(self.seed)

    def arm(self, process: SimDispatcher | SimScorer) -> None:
        """Perhaps schedule a crash of ``process`` some effects from now, unless one is scheduled."""
        if process.fuse.left is None and self.rng.random() < _CRASH_SHARE:
            process.fuse = Fuse(self.rng.randint(0, _MAX_FUSE))

    def restart(self, dispatcher: SimDispatcher) -> None:
        """Restart a dead dispatcher, on its disk or an empty one, with some signals redelivered."""
        empty, rewind = self.rng.random() < 0.5, self.rng.randint(0, _MAX_REWIND)
        dispatcher.restart(empty_disk=empty, rewind=rewind)
        self.dispatch += Faults(1, int(empty), rewind)


class Simulation:
    """One run. ``play`` it, then read ``log``, ``exchange`` and the digests.

    ``faults`` arms the broker's faults; ``seed`` is the paper exchange's. ``accounts``: only these have a
    dispatcher, None for all of the configuration.
    """

    def __init__(
        self,
        topology: Topology,
        tape: Tape,
        config: Config,
        *,
        seed: int = 0,
        cash: Mapping[str, Decimal] | None = None,
        faults: PaperFaults | None = None,
        chaos: Chaos | None = None,
        calendar: Calendar | None = None,
        layout: Layout | None = None,
        accounts: Collection[str] | None = None,
    ) -> None:
        calendar = calendar or xnys()
        self.topology, self.tape, self.config, self.chaos = topology, tape, config, chaos
        self.log = MemoryLog(layout or Layout())
        opened = [
            PaperAccount(
                account.broker_account_id,
                "",
                "",
                (cash or {}).get(account.account_id, Decimal(TIER_CASH[account.tier])),
                margin=account.allow_shorting,
            )
            for account in config.accounts
        ]
        self.exchange = PaperExchange(
            tape.market, calendar, opened, now=tape.first_live, seed=seed, faults=faults
        )
        self.scorer = SimScorer(self.log, config)
        leases = MemoryLeases(lambda: self.exchange.now / 1e6)
        self.stages = market_tasks(topology, self.log, config, calendar)
        self.dispatchers = [
            SimDispatcher(
                self.log,
                config,
                topology,
                account.account_id,
                self.exchange,
                calendar=calendar,
                leases=leases,
            )
            for account in config.accounts
            if accounts is None or account.account_id in accounts
        ]

    def play(self, *later: Tape) -> "Simulation":
        """Play the tape to its end, each minute until nothing moves, then ``later`` more minutes."""
        start = control(
            EVERY_ACCOUNT, KillState.ACTIVE, person="sim", reason="start", now=self.tape.first_live
        )
        write_control(self.log.writer(), start)
        self._play(self.tape)
        for tape in later:
            self.exchange.open_market(tape.market, tape.first_live)
            self._play(tape)
        return self

    def _play(self, tape: Tape) -> None:
        waited = count(step=_WAIT_S)
        player = Player(
            tape,
            self.log.writer(),
            Pace(None),
            before_minute=self._until_end_of,
            wait_for=self._follow,
            optional=OptionalInputs(
                self.topology.optional, self._reached, pause=lambda seconds: self._run_stages()
            ),
            monotonic=lambda: next(waited),
        )
        player.play(dict, self._standing)

    def _reached(self, name: str) -> int | None:
        """The label that every partition of a topic has reached; None if a partition has none."""
        lowest: int | None = None
        for part in range(self.log.layout.partitions(name)):
            newest_first = map(readable_label, reversed(self.log.read(name, part, 0)))
            label = next((label for label in newest_first if label is not None), None)
            if label is None:
                return None
            lowest = label if lowest is None else min(lowest, label)
        return lowest

    def _standing(self, since: int) -> Standing:
        held = (message for name in SOURCES for message in self.log.messages(name))
        return standing(MemorySource(self.log.layout, held), since)

    def rest(self, minutes: int) -> "Simulation":
        """After the tape: let ``minutes`` pass without crashes, so that pending work ends."""
        self.chaos = None
        self.scorer.fuse = Fuse()
        for dispatcher in self.dispatchers:
            dispatcher.fuse = Fuse()
        self._until_end_of(self.exchange.now + (minutes - 1) * MINUTE_US)
        return self

    def digests(self) -> dict[str, str]:
        """The digest of every topic with a schema, and of each table: market stages and accounts."""
        found = {each.name: self.outputs(each.name).hexdigest() for each in CATALOGUE if each.schema}
        found |= {f"{spec.name} state": self._state(self.stages, spec.name) for spec in self.topology.market}
        for dispatcher in self.dispatchers:
            stage = self.topology.account.name
            found[f"{dispatcher.account_id} state"] = self._state([dispatcher.task], stage)
        return found

    def outputs(self, name: str) -> OutputDigest:
        """The content of topic ``name``."""
        return of_messages(name, self.log.messages(name))

    @staticmethod
    def _state(tasks: Iterable[SimTask], stage: str) -> str:
        mine = (task for task in tasks if task.spec.name == stage)
        return of_state({key: value for task in mine for key, value in task.disk.items()})

    def _until_end_of(self, label: int) -> None:
        """Move the exchange to the end of the minute, through every moment at which a request is due."""
        end = label + MINUTE_US
        while self.exchange.now < end:
            due = [each.next_due for each in self.dispatchers if each.next_due is not None]
            self.exchange.advance(min([end, *(max(at, self.exchange.now + 1) for at in due)]))
            for dispatcher in self.dispatchers:
                self._work(dispatcher)

    def _follow(self, label: int) -> None:
        """After the minute's records are written, let the stages and then the dispatchers catch up."""
        self._run_stages()
        for dispatcher in self.dispatchers:
            self._work(dispatcher)

    def _run_stages(self) -> None:
        self._drain()
        while self._score():
            self._drain()

    def _score(self) -> bool:
        """Whether there was anything for the scorer."""
        if self.chaos is not None:
            self.chaos.arm(self.scorer)
        try:
            return self.scorer.work()
        except Crash:
            assert self.chaos is not None
            self.chaos.scoring += Faults(1)
            self.scorer.restart()
            return True

    def _drain(self) -> None:
        if self.chaos is None:
            drain(self.stages)
        else:
            self.chaos.faults += run_schedule(self.stages, self.chaos.rng.getrandbits(32))

    def _work(self, dispatcher: SimDispatcher) -> None:
        while True:
            if self.chaos is not None:
                self.chaos.arm(dispatcher)
            try:
                return dispatcher.work()
            except Crash:
                assert self.chaos is not None
                self.chaos.restart(dispatcher)
