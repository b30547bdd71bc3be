"""A Faust app for one stage: consumer group, table, agent, heartbeat."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, cast

import faust
from faust.assignor.partition_assignor import PartitionAssignor
from faust.transport.drivers.aiokafka import Transport
from mode.utils.queues import ThrowableQueue

from tapedeck.agents.assignor import SoleOwner
from tapedeck.agents.consumer import use_in
from tapedeck.agents.credentials import credentials
from tapedeck.agents.heartbeat import Heartbeat
from tapedeck.agents.identity import Identity
from tapedeck.agents.liveness import Liveness
from tapedeck.agents.membership import Membership
from tapedeck.agents.recovery import PatientRecovery, Recovered, Tables
from tapedeck.agents.runner import Probe, StageRunner
from tapedeck.agents.settings import Settings
from tapedeck.agents.table import ShellStore, ShellTable
from tapedeck.agents.topic_watch import TopicWatch, end_process
from tapedeck.agents.waiting import Unmarked
from tapedeck.agents.withheld import Withheld
from tapedeck.connectors.kafka.cluster import Cluster
from tapedeck.connectors.kafka.leaving import leave
from tapedeck.connectors.kafka.outbox import LINGER_MS, Outbox
from tapedeck.schemas.errors import Fatal
from tapedeck.streams.protocol import Scale, Stage, StageSpec
from tapedeck.streams.topology import make

log = logging.getLogger("tapedeck.worker")

HEARTBEAT_S = 1.0
REQUEST_S = 90.0
COMMIT_S = 1.0
BUFFER = 8192
FETCHED = 2000
"""Records of one fetch that become objects at once. Without a limit those of all partitions do, in a backlog
tens of thousands, and what that takes is never given back."""


class TapeApp(faust.App):
    """Faust empties its channels when the flow resumes after a recovery. It does not fetch again what the
    fetcher had delivered by then, so the stage would wait forever. Here nothing is thrown away. A message
    that comes twice is recognized as a repeat by its cursor, and one of an ended generation is left unacked.
    """

    cluster: Cluster
    membership: Membership

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.while_recovering: list[Callable[[], Coroutine[Any, Any, None]]] = []
        """Tasks that run from the start; Faust's own begin once the tables are recovered."""

    async def on_start(self) -> None:
        await super().on_start()
        for task in self.while_recovering:
            self.add_future(task())

    async def on_shutdown(self) -> None:
        """The consumer is closed by now. A static member leaves only where it is told to."""
        await super().on_shutdown()
        if self.membership.leaves and not self.crashed:
            await asyncio.to_thread(leave, self.cluster, self.conf.id, self.membership.instance)
            log.info("%s has left the group %s", self.membership.instance, self.conf.id)

    @property
    def recovery(self) -> PatientRecovery | None:
        """The recovery of the tables; None until the app starts."""
        return cast(Tables, self.tables).begun

    def FlowControlQueue(
        self, maxsize: int | None = None, *, clear_on_resume: bool = False
    ) -> ThrowableQueue[Any]:
        return super().FlowControlQueue(maxsize, clear_on_resume=False)

    def _new_transport(self) -> Transport:
        return use_in(super()._new_transport())


def new_app(group: str, settings: Settings, folder: str, scale: Scale) -> TapeApp:
    """A Faust app with the project's settings: topics come from the catalogue, never from Faust."""
    home = settings.home.absolute() / "state" / folder
    home.mkdir(parents=True, exist_ok=True)
    made = TapeApp(
        group,
        broker=settings.cluster.faust_broker(),
        broker_credentials=credentials(settings.cluster.security),
        datadir=str(home),
        store="rocksdb://",
        topic_allow_declare=False,
        topic_disable_leader=True,
        web_enabled=False,
        reply_create_topic=False,
        consumer_auto_offset_reset="earliest",
        broker_session_timeout=settings.membership.session_timeout_s,
        broker_request_timeout=max(REQUEST_S, settings.membership.session_timeout_s),  # Faust demands it
        consumer_group_instance_id=settings.membership.instance or None,
        broker_heartbeat_interval=HEARTBEAT_S,
        broker_commit_interval=COMMIT_S,
        broker_max_poll_records=FETCHED,
        stream_buffer_maxsize=BUFFER,
        stream_wait_empty=False,
        stream_recovery_delay=0.0,
        table_standby_replicas=0,
        key_serializer="raw",
        value_serializer="raw",
        TableManager=Tables,
        PartitionAssignor=SoleOwner if scale == "single" else PartitionAssignor,
    )
    made.cluster, made.membership = settings.cluster, settings.membership
    return made


class StageApp:
    """One stage with its app. ``recovered`` is set once it has partitions and their state.

    ``linger_ms``: how long a record waits for others before it is sent.
    """

    def __init__(
        self,
        settings: Settings,
        spec: StageSpec,
        stage: Stage,
        *,
        group: str | None = None,
        only_key: bytes | None = None,
        home: int = 0,
        after: Callable[[Any], Awaitable[None]] | None = None,
        linger_ms: float = LINGER_MS,
    ) -> None:
        name = group or spec.name
        layout = settings.layout
        self.spec, self.settings, self._home = spec, settings, home
        self.recovered = asyncio.Event()
        self.beside: tuple[str, ...] = ()
        """Topics that the process reads besides the stage."""
        self.app = new_app(settings.group(name), settings, name, spec.scale)
        self.outbox = Outbox(settings.cluster, settings.group(name), linger_ms=linger_ms)
        self.table = self._new_table(only_key)
        self.runner = StageRunner(
            self.app, spec, stage, settings, store=lambda: self.store, outbox=self.outbox,
            only_key=only_key, home=home, after=after,
        )  # fmt: skip
        self.identity = Identity(settings.cluster, spec, settings.group(name), only_key=only_key, home=home)
        self.heartbeat = Heartbeat(
            name, self.runner, settings, self.outbox,
            progress=self.progress, assigned=self.homes, restoring=self.restoring,
        )  # fmt: skip
        # no group reads a broadcast join: each task reads all of it
        wires = [layout.wire_name(each) for each in spec.inputs if (each, 0) not in self.runner.broadcasts]
        channel = self.app.topic(
            *wires, key_type=bytes, value_type=bytes, key_serializer="raw", value_serializer="raw"
        )
        self.app.agent(channel, name=spec.name, concurrency=1)(self._agent)
        self.table.on_recover(self._recovered)
        for broadcast in self.runner.broadcasts.values():
            self.app.task(broadcast.run)
        self.app.task(self.heartbeat.run)
        self.app.while_recovering.append(self.heartbeat.while_restoring)
        self.app.task(Liveness(self.runner).run)
        self.app.task(Withheld(self.runner, settings.cluster).run)
        self.app.task(Unmarked(self.runner).run)

    def _new_table(self, only_key: bytes | None) -> ShellTable:
        layout, changelog = self.settings.layout, self.spec.changelog
        topic = self.app.topic(
            layout.wire_name(changelog),
            key_type=bytes,
            value_type=bytes,
            key_serializer="raw",
            value_serializer="raw",
            partitions=layout.partitions(changelog),
        )
        table = ShellTable(
            self.app,
            name=self.spec.name,
            key_type=bytes,
            value_type=bytes,
            partitions=layout.partitions(changelog),
            changelog_topic=topic,
        )
        table.only_key = only_key
        self.app.tables.add(table)
        return table

    def set_probe(self, probe: Probe) -> None:
        """Call ``probe`` wherever a crash would leave effects half done."""
        self.runner.probe = probe
        self.table.probe = probe

    def begin(self, watch: TopicWatch) -> None:
        """Record the current topics before Faust opens a disk. A disk of another changelog is emptied."""
        store = self.store
        self.identity.take(watch)
        self.runner.ids = watch.ids
        store.changelog_id = watch.ids.get(self.spec.changelog, b"")
        self.identity.empty_other_disks(store.partition_path)

    @property
    def store(self) -> ShellStore:
        """The table's values on this worker's disk."""
        store = self.table.data
        assert isinstance(store, ShellStore)
        return store

    async def _agent(self, stream: Any) -> None:
        await self.runner.run(stream)

    def homes(self) -> list[int]:
        """The partitions whose tasks this worker has, or should have; none while they move."""
        homes = {partition for name, partition in self.runner.parts() if name == self.spec.trigger}
        return sorted({self._home} if homes and self.spec.scale == "single" else homes)

    def restoring(self) -> list[int]:
        """The tasks whose tables are being recovered."""
        recovery = self.app.recovery
        if recovery is None or not recovery.in_recovery:
            return []
        if self.spec.scale == "single":
            return [self._home]
        return sorted(tp.partition for tp in recovery.active_tps)

    def progress(self) -> tuple[int, int]:
        """Changelog records applied in the last recovery, and those that it has to apply."""
        return self.app.recovery.progress if self.app.recovery is not None else (0, 0)

    async def _recovered(self) -> None:
        recovered = self._what_recovered()
        await self.runner.settle(recovered)
        try:
            await asyncio.to_thread(self.identity.check, self.store, recovered)
        except Fatal as error:
            end_process(error)
        if recovered.stands():
            self.recovered.set()

    def _what_recovered(self) -> Recovered:
        """The last recovery's; before anything is awaited, because the next one may begin."""
        store, recovery = self.store, cast(Tables, self.app.tables).recovery
        generation, partitions = recovery.generation, tuple(sorted(self.table.brought))

        def stands() -> bool:
            return self.app.consumer_generation_id == generation and set(partitions) <= set(store.held())

        return Recovered(partitions, stands)


def market_app(spec: StageSpec, settings: Settings) -> StageApp:
    """The app of one market stage."""
    return StageApp(settings, spec, make(spec, settings.config, settings.calendar))
