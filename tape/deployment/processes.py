"""The processes of a deployment, derived from the topology and the configuration.

The local stack, docker-compose.yml and the Helm chart are all made of this list, so a process that is missing
here runs nowhere. The list is pure data: it reads no environment, and names secrets by variable only.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from tapedeck.connectors.alerts import settings as alerts
from tapedeck.connectors.kafka.acls import ADMIN, INGEST, OPERATOR, SCORER, SINK
from tapedeck.connectors.scoring.order import INPUTS
from tapedeck.connectors.tapes.writers import LIVE, LIVE_NEWS, LIVE_POSTS
from tapedeck.schemas.errors import Fatal
from tapedeck.streams.config.accounts import Account
from tapedeck.streams.config.document import Config
from tapedeck.streams.topology import Topology

EXCHANGE, PLAYER, DOCTOR = "exchange", "play", "doctor"
MIGRATE, INIT = "migrate", "init"
DATABASE_PASSWORD, APP_PASSWORD = "DATABASE_PASSWORD", "TAPE_APP_PASSWORD"
HEALTH_PORT = 9464
"""Where a container serves health and metrics. Processes beside the exchange share one network, and so each
has the next free one."""
LOOK_S = 30
"""How often the doctor looks, in seconds."""
_ENGINE_EXTRAS = {"finbert": "ml", "onnx": "onnx", "hybrid": "onnx"}


class Kind(StrEnum):
    """What a process does. MIGRATE and INIT are jobs that end; a player ends with its tape."""

    STAGE = "stage"
    SCORER = "scorer"
    DISPATCHER = "dispatcher"
    SINK = "sink"
    EXCHANGE = "exchange"
    INGEST = "ingest"
    DOCTOR = "doctor"
    PLAYER = "player"
    MIGRATE = "migrate"
    INIT = "init"


class Need(StrEnum):
    """What a process connects to; the value is the variable that names its address."""

    KAFKA = "KAFKA_BOOTSTRAP_SERVERS"
    DATABASE = "DATABASE_URL"
    EXCHANGE = "TAPE_EXCHANGE_URL"
    DATA = "TAPE_DATA_URL"


class Spread(StrEnum):
    """How many of a process may work at a time: one per PARTITION, or ONE while others stand by or wait."""

    PARTITION = "partition"
    ONE = "one"


@dataclass(frozen=True, kw_only=True)
class Process:
    """One process of a deployment.

    ``args``: those of the command ``tape``. ``stateful``: it keeps state below TAPE_HOME (an exchange below
    TAPE_EXCHANGE_FOLDER); a worker that loses it recovers from its changelog, which takes time. ``needs``:
    what it connects to. ``secrets``: variables that hold secrets, each of which may be NAME_FILE instead.
    ``if_set``, ``secrets_if_set``: variables that it reads where a deployment sets them. ``login``: its login
    on a secured Kafka, empty if it does not use Kafka. ``beside_exchange``: it talks to the exchange, which
    listens on loopback only, so both share one network. ``health_port``: 0 for a job. ``extra``: the extra of
    tapedeck that it needs. ``optional``: it runs only where asked for.
    """

    name: str
    kind: Kind
    args: tuple[str, ...]
    needs: tuple[Need, ...] = (Need.KAFKA,)
    secrets: tuple[str, ...] = ()
    if_set: tuple[str, ...] = ()
    secrets_if_set: tuple[str, ...] = ()
    stateful: bool = False
    spread: Spread = Spread.ONE
    stage: str = ""
    account: str = ""
    login: str = ""
    beside_exchange: bool = False
    health_port: int = HEALTH_PORT
    extra: str = ""
    optional: bool = False

    @property
    def service(self) -> str:
        """The name in the form of a DNS label, for containers and Kubernetes: ``post-links``."""
        return self.name.replace("_", "-")

    @property
    def is_job(self) -> bool:
        """Whether it ends when its work is done, and others wait for that."""
        return self.kind in (Kind.MIGRATE, Kind.INIT)

    @property
    def is_long(self) -> bool:
        """Whether it runs until it is stopped."""
        return not self.is_job and self.kind is not Kind.PLAYER


def processes(topology: Topology, config: Config) -> tuple[Process, ...]:
    """Every process of a deployment of ``topology`` under ``config``, in the order in which they start.

    The player and the ingesters are in the list together, but both write the source topics: a deployment runs
    either. Raises Fatal if two processes would have one name as services.
    """
    accounts = config.accounts
    keys = tuple(name for account in accounts for name in _keys(account))
    found = (
        Process(
            name=MIGRATE,
            kind=Kind.MIGRATE,
            args=("migrate",),
            needs=(Need.DATABASE,),
            secrets=(DATABASE_PASSWORD, APP_PASSWORD),
            health_port=0,
        ),
        Process(
            name=INIT,
            kind=Kind.INIT,
            args=("init",),
            needs=(Need.KAFKA, Need.DATABASE),
            secrets=(DATABASE_PASSWORD,),
            login=ADMIN,
            health_port=0,
        ),
        Process(
            name=EXCHANGE,
            kind=Kind.EXCHANGE,
            args=("exchange",),
            needs=(Need.EXCHANGE,),
            secrets=keys,
            stateful=True,
            beside_exchange=True,
        ),
        *_stages(topology),
        *([_scorer(config)] if any(topology.writer(name) for name in INPUTS) else []),
        *(_dispatcher(account, HEALTH_PORT + 2 + place) for place, account in enumerate(accounts)),
        Process(
            name=SINK,
            kind=Kind.SINK,
            args=("sink", "--no-migrate"),
            needs=(Need.KAFKA, Need.DATABASE),
            secrets=(DATABASE_PASSWORD,),
            login=SINK,
        ),
        *_ingesters(),
        _doctor(HEALTH_PORT + 2 + len(accounts)),
        Process(
            name=PLAYER,
            kind=Kind.PLAYER,
            args=("play", "--synthetic"),
            needs=(Need.KAFKA, Need.EXCHANGE),
            login=INGEST,
            beside_exchange=True,
            health_port=HEALTH_PORT + 1,
            optional=True,
        ),
    )
    _check_services(found)
    return found


def long_lived(found: Iterable[Process]) -> tuple[Process, ...]:
    """Those that run until they are stopped."""
    return tuple(process for process in found if process.is_long)


def _stages(topology: Topology) -> tuple[Process, ...]:
    return tuple(
        Process(
            name=spec.name,
            kind=Kind.STAGE,
            args=("worker", spec.name),
            stateful=True,
            spread=Spread.ONE if spec.scale == "single" else Spread.PARTITION,
            stage=spec.name,
            login=spec.name,
        )
        for spec in topology.market
    )


def _scorer(config: Config) -> Process:
    return Process(
        name=SCORER,
        kind=Kind.SCORER,
        args=("scorer",),
        needs=(Need.KAFKA, Need.DATABASE),
        secrets=(DATABASE_PASSWORD,),
        login=SCORER,
        extra=_ENGINE_EXTRAS.get(config.sentiment.engine, ""),
    )


def _dispatcher(account: Account, port: int) -> Process:
    name = f"dispatch-{account.account_id}"
    return Process(
        name=name,
        kind=Kind.DISPATCHER,
        args=("dispatch", account.account_id),
        needs=(Need.KAFKA, Need.DATABASE, Need.EXCHANGE),
        secrets=(DATABASE_PASSWORD, *_keys(account)),
        stateful=True,
        account=account.account_id,
        login=name,
        beside_exchange=True,
        health_port=port,
    )


def _ingesters() -> tuple[Process, ...]:
    """Bars and news with the keys of the data account, posts with those of Reddit's app."""
    data = ("APCA_API_KEY_ID", "APCA_API_SECRET_KEY")
    reddit = ("REDDIT_CLIENT_ID", "REDDIT_CLIENT_SECRET", "REDDIT_AUTHOR_SALT")
    kinds = ((LIVE, "bars", data, ""), (LIVE_NEWS, "news", data, ""), (LIVE_POSTS, "posts", reddit, "reddit"))
    return tuple(
        Process(
            name=name,
            kind=Kind.INGEST,
            args=("ingest", source),
            needs=(Need.KAFKA, Need.DATABASE, *([Need.DATA] if keys is data else [])),
            secrets=(DATABASE_PASSWORD, *keys),
            login=INGEST,
            extra=extra,
            optional=bool(extra),
        )
        for name, source, keys, extra in kinds
    )


def _doctor(port: int) -> Process:
    """The one that sends alarms: it runs where a sink for them is named, and without one it refuses to start.

    Its memory of what the sinks were told is state, so that a restart repeats nothing.
    """
    return Process(
        name=DOCTOR,
        kind=Kind.DOCTOR,
        args=("doctor", "--watch", str(LOOK_S)),
        needs=(Need.KAFKA, Need.DATABASE, Need.EXCHANGE),
        secrets=(DATABASE_PASSWORD,),
        if_set=(alerts.EMAIL, alerts.SENDER, alerts.SMTP, alerts.REPEAT),
        secrets_if_set=(alerts.WEBHOOK, alerts.WEBHOOK_SECRET, alerts.SMTP_PASSWORD),
        stateful=True,
        login=OPERATOR,
        beside_exchange=True,
        health_port=port,
        optional=True,
    )


def _keys(account: Account) -> tuple[str, ...]:
    """The variables of an account's credentials; one that names a file needs no variable."""
    return tuple(name for name in (account.key_ref, account.secret_ref) if "/" not in name)


def _check_services(found: Iterable[Process]) -> None:
    taken: dict[str, str] = {}
    for process in found:
        if (other := taken.setdefault(process.service, process.name)) != process.name:
            raise Fatal(
                f"the processes {other} and {process.name} have one name where underscores are not allowed",
                value=process.service,
                remedy="rename the stage or the account so that they differ in more than - and _",
            )
