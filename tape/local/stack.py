"""The local stack: Kafka, Postgres, topics, migrations, then the workers; one process supervises them."""

import os
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Self

from tapedeck.connectors.config_file import load, topology_of
from tapedeck.connectors.health.server import PORT
from tapedeck.connectors.kafka.acls import ADMIN, Rights
from tapedeck.connectors.kafka.admin import ensure
from tapedeck.connectors.kafka.cluster import BOOTSTRAP, Cluster
from tapedeck.connectors.kafka.identity import cluster_id_of
from tapedeck.connectors.kafka.principals import principals
from tapedeck.schemas.errors import Fatal
from tapedeck.streams.config.document import Config
from tapedeck.streams.config.examples import EXAMPLE_ACCOUNTS
from tapedeck.streams.named import TOPOLOGY_VARIABLE
from tapedeck.tape.begin import arm, migrate
from tapedeck.tape.local import aot, plan, state
from tapedeck.tape.local.disk import Room
from tapedeck.tape.local.kafka import PLAIN, Doors, EmbeddedKafka
from tapedeck.tape.local.live import LiveData, live_data
from tapedeck.tape.local.logins import NOTHING_SAID, SECRETS, Logins
from tapedeck.tape.local.places import LOOPBACK, cache_dir, free_port, kernels_folder, say
from tapedeck.tape.local.postgres import EmbeddedPostgres, check_database
from tapedeck.tape.local.process import identity
from tapedeck.tape.local.process import in_words as exit_in_words
from tapedeck.tape.local.rotation import rotate_all
from tapedeck.tape.local.secured import admit, doors_of
from tapedeck.tape.local.state import Phase, ProcessState, StackState
from tapedeck.tape.local.status import log_files
from tapedeck.tape.local.supervisor import DRAIN_S, Supervisor, Worker, process_state
from tapedeck.topics.catalogue import Layout
from tapedeck.topics.keeping import ALL_FOREVER, KEEP

_LOOK_S = 15.0
_SERVICES_S = 1.5
_DOCUMENT = "tapedeck.toml"
WorkerPlan = Callable[[Config], Sequence[Worker]]


class LocalStack:
    """One stack in ``folder``. Use as a context manager, and call ``watch`` while it runs.

    ``config`` is a document's path. Without one, the stack writes the default document with the two example
    accounts into its folder. KAFKA_BOOTSTRAP_SERVERS and DATABASE_URL name servers to use instead of
    embedded ones; TAPE_CACHE is where downloads are stored. ``secure``: the embedded Kafka uses TLS and
    logins, and each process has only the rights for its work. A folder that was secured once stays secured.
    ``live``: a worker writes live market data into the topics, in place of a tape that is played.

    Its ``topology`` is the one that TAPE_TOPOLOGY or its document names.
    """

    def __init__(
        self,
        folder: Path,
        *,
        config: Path | None = None,
        prefix: str = "",
        workers: WorkerPlan | None = None,
        secure: bool = False,
        live: bool = False,
    ) -> None:
        self.folder = folder.absolute()
        self.cluster = Cluster("", Layout(prefix))
        self.database_url = ""
        self.exchange_url = ""
        own = self.folder / _DOCUMENT
        self.topology = topology_of(config or (own if own.exists() else None))
        self._secure, self._logins = secure, Logins(self.folder / SECRETS)
        self._config_path = config
        self._workers, self._live = workers, live
        self._lock = ExitStack()
        self._phase = Phase.STARTING
        self._kafka: EmbeddedKafka | None = None
        self._postgres: EmbeddedPostgres | None = None
        self._supervisor: Supervisor | None = None
        self._room = Room(self.folder)
        self._next_look = 0.0
        self._broker_was_away = False

    def __enter__(self) -> Self:
        self._lock.enter_context(state.only_stack(self.folder))
        try:
            self._end_leftovers()
            self._start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def config_path(self) -> Path:
        """The configuration document of this stack, written from the defaults if none was named."""
        if self._config_path is None:
            self._config_path = self.folder / _DOCUMENT
            if not self._config_path.exists():
                self._config_path.write_text(Config(accounts=EXAMPLE_ACCOUNTS).to_toml())
        return self._config_path.absolute()

    @property
    def environment(self) -> dict[str, str]:
        """The environment variables of every worker process."""
        return {
            **self._state().told(),
            **self.cluster.environment(),
            **self._own_broker(),
            PORT: "",  # each process takes a free one
            "TAPE_HOME": str(self.folder),
            "TAPE_EXCHANGE_FOLDER": str(self.folder / "exchange"),
            "TAPE_CACHE": str(cache_dir()),
            "NUMBA_CACHE_DIR": str(kernels_folder()),
        }

    def cluster_for(self, login: str) -> Cluster:
        """The cluster as ``login`` connects to it: the same for all if the stack is not secured."""
        if not self._is_secured:
            return self.cluster
        return replace(self.cluster, security=self._logins.login(login))

    def watch(self) -> None:
        """One look at every process. Raises Fatal, quoting the log, if the stack cannot go on."""
        for service in (self._kafka, self._postgres):
            if service is not None and (code := service.child.exit_code) is not None:
                raise service.child.failure(f"{service.child.name} ended with {exit_in_words(code)}")
        if self._supervisor is not None:
            self._supervisor.watch()
        if time.monotonic() >= self._next_look:
            self._look_at_broker()
            self._room.watch()
            rotate_all(log_files(self.folder, None).values())
            self._next_look = time.monotonic() + _LOOK_S

    def stop(self) -> None:
        """Workers drain, then the servers stop; everything has ended within ten seconds."""
        self._phase = Phase.STOPPING
        until = time.monotonic() + DRAIN_S
        if self._supervisor is not None:
            self._write()
            killed = self._supervisor.drain(DRAIN_S - _SERVICES_S)
            if killed:
                say(f"did not stop in time and was killed: {', '.join(killed)}")
        services = [
            service for service in (self._postgres, self._kafka) if service is not None and service.launched
        ]
        for service in services:
            service.child.ask_to_stop()
        for service in services:
            service.stop(max(0.1, until - time.monotonic()))
        self._phase = Phase.STOPPED
        self._supervisor = self._kafka = self._postgres = None
        self._write()
        self._lock.close()

    def _start(self) -> None:
        config = load(self.config_path)
        told = {KEEP: ALL_FOREVER} | config.deployment.under(os.environ)
        live = live_data(config) if self._live else None
        prefix = self.cluster.prefix or told.get("TAPE_PREFIX", "")
        self.cluster = replace(self.cluster, layout=Layout.described(prefix, told))
        self._room.demand()
        self._room.watch()
        rotate_all(log_files(self.folder, None).values())
        self._write()
        self._start_servers(config)
        say(f"Kafka answers at {self.cluster.bootstrap}; creating topics and tables")
        ensure(self.cluster)
        migrate(self.database_url, self.cluster.prefix)
        arm(self.cluster, config, person="tape up", reason="first start")
        self.exchange_url = f"http://{LOOPBACK}:{free_port()}"
        workers = self._planned(config, live)
        if live is not None and live.no_posts:
            say(f"Reddit is not read: {live.no_posts}")
        self._supervisor = Supervisor(self.folder, self.environment, self._write)
        say(f"starting {len(workers)} workers; their logs are in {self.folder / 'logs'}")
        self._supervisor.start(workers)
        self._phase = Phase.READY
        self._write()

    def _start_servers(self, config: Config) -> None:
        """Start both in parallel: one boots while the other is prepared."""
        say(f"starting Kafka and Postgres in {self.folder}")
        told = load(self.config_path).deployment.under(os.environ)
        named_broker, named_database = told.get(BOOTSTRAP), told.get("DATABASE_URL")
        if named_broker:
            self._refuse_to_secure(named_broker)
            named = Cluster.described(named_broker, self.cluster.prefix, told)
            self.cluster = replace(named, layout=self.cluster.layout, expected_id=cluster_id_of(named))
        else:
            aot.prepare(cache_dir())
            self._kafka = EmbeddedKafka(self.folder / "kafka", cache_dir(), doors=self._doors(config))
            self._kafka.launch()
        if named_database:
            check_database(named_database)
            self.database_url = named_database
        else:
            self._postgres = EmbeddedPostgres(self.folder / "postgres")
            self._postgres.launch()
        self._write()
        if self._kafka is not None:
            self._kafka.wait_ready()
            own = self._kafka.cluster
            self.cluster = replace(self.cluster, bootstrap=self._kafka.bootstrap, expected_id=own.expected_id)
            if self._is_secured:
                admit(own, self._logins, self._principals(config), self.cluster.layout)
                self.cluster = self.cluster_for(ADMIN)
        if self._postgres is not None:
            self._postgres.wait_ready()
            self.database_url = self._postgres.url
        cluster_id_of(self.cluster)

    @property
    def _is_secured(self) -> bool:
        """Whether there is an embedded Kafka and it requires logins."""
        return self._kafka is not None and self._logins.there

    def _refuse_to_secure(self, named_broker: str) -> None:
        if self._secure:
            raise Fatal(
                "`tape up` cannot secure a broker that is not its own",
                value=named_broker,
                remedy="leave out --secure: KAFKA_SECURITY_PROTOCOL and related variables secure it, and "
                "`tape topics --acls` prints what to grant",
            )

    def _doors(self, config: Config) -> Doors:
        if not (self._secure or self._logins.there):
            return PLAIN
        if not self._secure:
            say(f"the stack stays secured; its logins are in {self._logins.folder}")
        self._logins.make(self._principals(config))
        return doors_of(self._logins)

    def _principals(self, config: Config) -> dict[str, Rights]:
        return principals(
            self.topology, self.cluster.layout, [account.account_id for account in config.accounts]
        )

    def _own_broker(self) -> dict[str, str]:
        """Settings for another broker, which this environment may have, do not apply to an embedded one."""
        return NOTHING_SAID if self._kafka is not None else {}

    def _planned(self, config: Config, live: LiveData | None) -> list[Worker]:
        """The workers, each with its login."""
        runs = live is not None and live.is_embedded
        found = self._workers(config) if self._workers else plan.workers(self.topology, config, runs=runs)
        added = live.workers(self.exchange_url) if live else ()
        if not self._is_secured:
            return [*found, *added]
        return [self._with_login(worker) for worker in (*plan.apart(found), *added)]

    def _with_login(self, worker: Worker) -> Worker:
        """With the login of its name; a process that does not use Kafka has none."""
        login = worker.login or worker.name
        if not self._logins.password_file(login).is_file():
            return worker
        return replace(worker, env={**worker.env, **dict(self._logins.login(login).given)})

    def _look_at_broker(self) -> None:
        """Report once that the broker is frozen or that another one answers, and once that it is back."""
        try:
            cluster_id_of(self.cluster)
        except Fatal as error:
            if not self._broker_was_away:
                say(str(error))
            self._broker_was_away = True
        else:
            if self._broker_was_away:
                say(f"the Kafka broker at {self.cluster.bootstrap} answers again")
            self._broker_was_away = False

    def _end_leftovers(self) -> None:
        """On some systems, a killed supervisor leaves children behind."""
        state.end_processes(state.read(self.folder))

    def _processes(self) -> tuple[ProcessState, ...]:
        services = [s.child for s in (self._kafka, self._postgres) if s is not None and s.launched]
        workers = self._supervisor.processes() if self._supervisor is not None else ()
        return (*(process_state(child) for child in services), *workers)

    def _state(self) -> StackState:
        me = identity(os.getpid())
        assert me is not None
        return StackState(
            name=self.folder.name,
            phase=self._phase,
            supervisor=ProcessState(name="supervisor", pid=me.pid, started=me.started, log=""),
            bootstrap=self.cluster.bootstrap,
            cluster_id=self.cluster.expected_id,
            database_url=self.database_url,
            config=str(self._config_path.absolute()) if self._config_path else "",
            topology=os.environ.get(TOPOLOGY_VARIABLE, ""),
            prefix=self.cluster.layout.prefix,
            exchange_url=self.exchange_url,
            secrets=str(self._logins.folder) if self._is_secured else "",
            processes=self._processes(),
        )

    def _write(self) -> None:
        state.write(self.folder, self._state())
