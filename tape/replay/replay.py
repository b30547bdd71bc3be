"""One replay: workers under a prefix, the history at full speed, then the window minute by minute."""

import shutil
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tapedeck.agents.settings import code_version
from tapedeck.connectors.controls import EVERY_ACCOUNT, control, write_control
from tapedeck.connectors.kafka.acls import SCORER
from tapedeck.connectors.kafka.bulk.source import KafkaSource
from tapedeck.connectors.kafka.cluster import Cluster
from tapedeck.connectors.kafka.groups import KafkaGroups
from tapedeck.connectors.kafka.log import KafkaLogWriter
from tapedeck.connectors.kafka.scan import read_topic
from tapedeck.connectors.paper.remote import RemoteExchange
from tapedeck.connectors.postgres.database import upgrade
from tapedeck.connectors.recorded.format import save
from tapedeck.connectors.recorded.playable import sessions_of
from tapedeck.connectors.recorded.window import Slice, Window, stretch
from tapedeck.connectors.tapes.marks import Follower
from tapedeck.connectors.tapes.player import Pace
from tapedeck.connectors.tapes.source import TapeSource
from tapedeck.schemas.codec import Body, decode
from tapedeck.schemas.errors import Fatal
from tapedeck.streams.blocks import Source
from tapedeck.streams.config.document import Config
from tapedeck.streams.named import TOPOLOGY_VARIABLE
from tapedeck.streams.protocol import MINUTE_US
from tapedeck.streams.sessions import Phase, iso_date, xnys
from tapedeck.streams.stages.account.rules.gate_types import KillState
from tapedeck.streams.topology import Topology
from tapedeck.streams.wire import Origin
from tapedeck.tape.local import plan
from tapedeck.tape.local.places import LOOPBACK, cache_dir, free_port, kernels_folder, say
from tapedeck.tape.local.state import EXCHANGE_URL, only_stack
from tapedeck.tape.local.supervisor import DRAIN_S, Supervisor, Worker
from tapedeck.tape.local.where import look
from tapedeck.tape.rebuild.progress import Told
from tapedeck.tape.record.making import cut
from tapedeck.tape.replay.compare import Summary, bodies, decisions
from tapedeck.tape.replay.prefix import dispatcher_group, make
from tapedeck.tape.replay.shadow import demand_nothing_sent, shadowed
from tapedeck.tape.timed import timed

CONFIG, MARKET = "tapedeck.toml", "market"
_AGAIN_S = 0.2


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """What to replay, and where to. ``config``: the current one; its accounts become shadow accounts. Without
    a ``database_url`` no dispatcher runs."""

    topology: Topology
    live: Cluster
    into: Cluster
    config: Config
    window: Window
    pace: Pace
    folder: Path
    database_url: str = field(default="", repr=False)


class Replay:
    """Entering creates the prefix and starts workers; leaving stops them and keeps the topics."""

    def __init__(self, wanted: Wanted) -> None:
        """Raises Fatal if both prefixes are the same, and for accounts in a window without a session."""
        if wanted.into.prefix == wanted.live.prefix:
            remedy = "name another with --into"
            raise Fatal("source and target have the same prefix", value=wanted.into.prefix, remedy=remedy)
        self.wanted = wanted
        accounts = wanted.config.accounts if wanted.database_url else ()
        self.config = shadowed(wanted.config.model_copy(update={"accounts": accounts}))
        self._days = sessions_of(wanted.window.start, wanted.window.end, xnys())
        if accounts and not self._days:
            remedy = "choose a window with a session, or leave out the accounts with --no-accounts"
            raise Fatal("the exchange is closed in the whole window", value=str(wanted.window), remedy=remedy)
        self._market = str(wanted.folder / MARKET)
        self.exchange = f"http://{LOOPBACK}:{free_port()}" if accounts else None
        self._supervisor = Supervisor(wanted.folder, self.environment, lambda: None)
        self._writer: KafkaLogWriter | None = None
        self._open = ExitStack()

    @property
    def environment(self) -> dict[str, str]:
        """The environment of every worker process: only the servers are those of production."""
        wanted = self.wanted
        return {
            **wanted.into.environment(),
            "DATABASE_URL": wanted.database_url,
            "TAPE_CONFIG": str(wanted.folder / CONFIG),
            TOPOLOGY_VARIABLE: look().get(TOPOLOGY_VARIABLE),
            EXCHANGE_URL: self.exchange or "",
            "TAPE_EXCHANGE_TAPE": self._market,
            "TAPE_EXCHANGE_SESSION": str(iso_date(self._days[0])) if self._days else "",
            "TAPE_EXCHANGE_SPEED": "max",
            "TAPE_HOME": str(wanted.folder),
            "TAPE_CACHE": str(cache_dir()),
            "NUMBA_CACHE_DIR": str(kernels_folder()),
        }

    def __enter__(self) -> "Replay":
        wanted = self.wanted
        with ExitStack() as opening:
            opening.enter_context(only_stack(wanted.folder))
            make(wanted.into)
            say(f"starting workers for the prefix {wanted.into.prefix}; logs are in {wanted.folder / 'logs'}")
            self._lay_out()
            opening.callback(self._supervisor.drain, DRAIN_S)
            self._supervisor.start([each for each in self._workers() if not _is_dispatcher(each)])
            origin = Origin("replay", code_version(), self.config.digest)
            self._writer = opening.enter_context(KafkaLogWriter(wanted.into, origin, linger_ms=5))
            self._open = opening.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._open.close()

    def run(self) -> Summary:
        """Replay the window and return the result.

        Raises Fatal if the pipeline stops, if a worker keeps dying, or if anything was sent.
        """
        wanted = self.wanted
        with timed(wanted.live, say) as source:
            slices = stretch(source, wanted.window, opened=bool(wanted.topology.optional))
            say("writing the history at full speed")
            first = self._warm_up(slices)
            if self.exchange:
                self._start_dispatchers()
            say(f"replaying {wanted.window}")
            minutes = self._play(first, slices)
            return self._summary(source, minutes)

    def _lay_out(self) -> None:
        """The folder of the workers, cleared of earlier replays of this prefix."""
        wanted = self.wanted
        for name in ("state", "ready", MARKET):
            shutil.rmtree(wanted.folder / name, ignore_errors=True)
        (wanted.folder / CONFIG).write_text(self.config.to_toml())
        if self.exchange:
            with timed(wanted.live, say) as source:
                tape = cut(source, wanted.window, self.config, name=f"replay into {wanted.into.prefix}")
            save(wanted.folder / MARKET, tape)
            upgrade(wanted.database_url, wanted.into.prefix)

    def _workers(self) -> list[Worker]:
        """The local stack's plan without its sink, and without its scorer: scores are replayed.

        Without accounts also without an exchange.
        """
        left_out = {"sink", SCORER} if self.exchange else {"sink", SCORER, "exchange"}
        return [each for each in plan.workers(self.wanted.topology, self.config) if each.name not in left_out]

    def _warm_up(self, slices: Iterator[Slice]) -> Slice:
        """Write everything before the window and wait until the market stages have it; the first minute."""
        label = None
        for each in slices:
            if each.label >= self.wanted.window.start:
                break
            self._write(each)
            label = each.label
        assert label is not None
        self._flush()
        with self._following(()) as wait_for:
            wait_for(label)
        return each

    def _start_dispatchers(self) -> None:
        """They start at the window: signals from the history are not theirs to trade."""
        wanted = self.wanted
        with KafkaSource(wanted.into) as source:
            ends = {part: end for part, (_, end) in source.ends(wanted.topology.signal_topics).items()}
        groups = KafkaGroups(wanted.into)
        for account in self.config.accounts:
            groups.commit(wanted.into.layout.group(dispatcher_group(account.account_id)), ends)
        armed = control(
            EVERY_ACCOUNT,
            KillState.ACTIVE,
            person="tape replay",
            reason="shadow accounts",
            now=wanted.window.start,
        )
        assert self._writer is not None
        write_control(self._writer, armed)
        self._supervisor.start([each for each in self._workers() if _is_dispatcher(each)])

    def _play(self, first: Slice, rest: Iterator[Slice]) -> int:
        """The window's minutes at the chosen pace.

        At max, each regular minute waits for stages and dispatchers.
        """
        wanted, count, label = self.wanted, 0, first.label
        stages = tuple(dispatcher_group(each.account_id) for each in self.config.accounts)
        exchange = RemoteExchange(self.exchange, self._supervisor.watch) if self.exchange else None
        served = self._days[0] if self._days else 0
        total = (wanted.window.end - wanted.window.start) // MINUTE_US
        began = time.monotonic()
        with self._following(stages) as wait_for, Told(total, "replay", unit="minutes") as told:
            for each in _chained(first, rest):
                count, label = count + 1, each.label
                if wanted.pace.speed is not None:
                    self._rest_until(began + count * 60.0 / wanted.pace.speed)
                day = xnys().session_date(label)
                if exchange is not None and day != served and day in self._days:
                    exchange.open_market(TapeSource(tape=self._market, session=iso_date(day)))
                    served = day
                if exchange is not None:
                    exchange.advance(label)
                self._write(each)
                self._flush()
                if wanted.pace.speed is None and xnys().phase(label) is Phase.REGULAR:
                    wait_for(label)
                told.advance(1)
            wait_for(label)
        return count

    def _summary(self, source: Source, minutes: int) -> Summary:
        wanted = self.wanted
        orders = list(self._bodies("orders"))
        executions = sum(1 for _ in self._bodies("executions"))
        demand_nothing_sent(orders, executions, self.exchange)
        with KafkaSource(wanted.into) as replayed:
            return Summary(
                window=wanted.window,
                minutes=minutes,
                signals=len(self._signal_ids(replayed)),
                verdicts=Counter(body["verdict"] for body in self._bodies("proposals")),
                replayed=decisions(replayed, wanted.window),
                recorded=decisions(source, wanted.window),
            )

    def _signal_ids(self, replayed: Source) -> set[str]:
        names, window = self.wanted.topology.signal_topics, self.wanted.window
        return {body["signal_id"] for name in names for body in bodies(replayed, name, window)}

    def _bodies(self, name: str) -> Iterator[Body]:
        """The records of an account topic of the replay, each once."""
        seen = {}
        for message in read_topic(self.wanted.into, name):
            body = decode(name, message.value)
            seen[body["event_id"]] = body
        yield from seen.values()

    @contextmanager
    def _following(self, stages: tuple[str, ...]) -> Iterator[Callable[[int], None]]:
        """Waits for minutes of the replay, and supervises the workers meanwhile."""
        marked, watch = self.wanted.topology.marked, self._supervisor.watch
        with Follower(self.wanted.into, marked, stages=stages, meanwhile=watch) as follower:
            yield follower.wait_for

    def _rest_until(self, due: float) -> None:
        while (left := due - time.monotonic()) > 0:
            time.sleep(min(left, _AGAIN_S))
            self._supervisor.watch()

    def _write(self, each: Slice) -> None:
        assert self._writer is not None
        self._writer.write_messages(each.messages)

    def _flush(self) -> None:
        assert self._writer is not None
        self._writer.flush()


def _is_dispatcher(worker: Worker) -> bool:
    return worker.name.startswith("dispatch-")


def _chained(first: Slice, rest: Iterator[Slice]) -> Iterator[Slice]:
    yield first
    yield from rest
