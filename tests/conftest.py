"""Session fixtures: one real broker and one real database per run, started only when a test asks for them."""

import os
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from hypothesis import settings
from xdist.scheduler import LoadScopeScheduling

from tapedeck.connectors.kafka.cluster import Cluster
from tapedeck.connectors.kafka.identity import cluster_id_of
from tapedeck.schemas import ids
from tapedeck.schemas.errors import Fatal
from tapedeck.streams.config import user
from tapedeck.streams.topology import Topology
from tapedeck.tape.local import aot
from tapedeck.tape.local.kafka import EmbeddedKafka
from tapedeck.tape.local.places import cache_dir
from tapedeck.tape.local.postgres import EmbeddedPostgres, check_database
from tapedeck.topics.catalogue import CATALOGUE
from tests.support import servers
from tests.support.secured import SecuredKafka

# How long an example takes says more about the machine than about the code.
settings.register_profile("tapedeck", deadline=None)
settings.load_profile("tapedeck")


SLOW = (
    "test_block_merge", "test_bulk_records", "test_columns_fuzz", "test_data_server_running",
    "test_demo_funnel", "test_exchange_cli", "test_feature_window", "test_fetch",
    "test_ingest_from_data_server", "test_links_any_text", "test_paper_days", "test_rebuild_apply",
    "test_rebuild_pool", "test_rebuild_verify", "test_sentiment_model", "test_synthetic_day",
    "test_timed",
)  # fmt: skip
"""Files of tests/unit that take ten seconds and more: `make quick` leaves them out."""
LANES = {"tests/integration/": "integration", "tests/chaos/": "chaos", "tests/bench/": "chaos"}
"""Folders whose tests need servers, and in which of two processes they run."""
OF_THE_DAY = frozenset(
    {
        "tests/integration/test_audit_day.py", "tests/sim/test_explain.py", "tests/sim/test_whatif.py",
        "tests/sim/test_whatif_accounts.py", "tests/sim/test_whole_path.py", "tests/sim/test_why_held.py",
    }
)  # fmt: skip
"""Files whose tests read the whole synthetic day: they run in one process, which plays it once."""
ORDER = (*LANES, "tests/sim/")
"""What takes long begins first, so that all processes end at about the same time."""


class Broker(NamedTuple):
    """The address of the run's Kafka, and its cluster id."""

    bootstrap: str
    cluster_id: str


class Database(NamedTuple):
    """The address of the run's Postgres; the role may create databases."""

    url: str


def pytest_configure(config: pytest.Config) -> None:
    """Servers that cannot be had end the run here, before a test waits for them."""
    try:
        servers.in_containers()
    except Fatal as error:
        raise pytest.UsageError(str(error)) from None


def pytest_itemcollected(item: pytest.Item) -> None:
    """What `make quick` leaves out."""
    if item.get_closest_marker("integration") is not None or item.path.stem in SLOW:
        item.add_marker(pytest.mark.slow)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Sort by ``ORDER``; within a folder the order stays."""
    ranks = {name: rank for rank, name in enumerate(ORDER)}
    items.sort(key=lambda item: ranks.get(_folder(item.nodeid), len(ranks)))


def _folder(nodeid: str) -> str:
    return "".join(f"{part}/" for part in nodeid.split("/")[:2])


class ByServers(LoadScopeScheduling):
    """Tests that need servers run in two processes, one after the other in each; no file is divided."""

    def _split_scope(self, nodeid: str) -> str:
        path, _, _ = nodeid.partition("::")
        return "day" if path in OF_THE_DAY else LANES.get(_folder(nodeid), path)


def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    """One process more than cores: those with servers wait for them much of their time."""
    return (os.cpu_count() or 1) + 1


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> ByServers:
    """The scheduler of a run in several processes."""
    return ByServers(config, log)


@pytest.fixture(scope="module")
def toys() -> Iterator[Topology]:
    """The pipeline of ``tests.toy``.

    Its records and topics are registered for the tests of the module only.
    """
    with CATALOGUE.scratch(), ids.scratch():
        from tests.toy import declare_all
        from tests.toy.topology import pipeline

        declare_all()
        yield pipeline()


@pytest.fixture(scope="session")
def example_site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The folder of the installed example package, which is importable here too."""
    from tests.support.example import install

    site = install(tmp_path_factory.mktemp("example"))
    sys.path.insert(0, str(site))
    yield site
    sys.path.remove(str(site))


@pytest.fixture(scope="module")
def example(example_site: Path) -> Iterator[Topology]:
    """The pipeline of the example package, whose topics are registered for the tests of the module only."""
    with CATALOGUE.scratch(), ids.scratch(), user.scratch():
        from relative_strength import declare_all
        from relative_strength.topology import pipeline

        declare_all()
        yield pipeline()


@pytest.fixture(scope="session")
def kafka(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker]:
    """The broker that KAFKA_BOOTSTRAP_SERVERS names, else an embedded one, or a container with
    TAPE_TEST_SERVERS=docker. Separate tests by ``prefix``."""
    if named := os.environ.get("KAFKA_BOOTSTRAP_SERVERS"):
        yield Broker(named, cluster_id_of(Cluster(named)))
        return
    if servers.in_containers():
        with servers.kafka() as found:
            yield Broker(*found)
        return
    aot.prepare(cache_dir())
    broker = EmbeddedKafka(tmp_path_factory.mktemp("kafka"), cache_dir())
    broker.start()
    try:
        yield Broker(broker.bootstrap, broker.cluster_id)
    finally:
        broker.stop()


@pytest.fixture(scope="session")
def secured(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SecuredKafka]:
    """An embedded broker with every protocol and mechanism. Separate tests by ``prefix`` here too."""
    aot.prepare(cache_dir())
    broker = SecuredKafka(tmp_path_factory.mktemp("secured"))
    broker.start()
    try:
        yield broker
    finally:
        broker.stop()


@pytest.fixture(scope="session")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Database]:
    """The database that DATABASE_URL names, else an embedded one, or a container as for ``kafka``."""
    if named := os.environ.get("DATABASE_URL"):
        check_database(named)
        yield Database(named)
        return
    if servers.in_containers():
        with servers.postgres() as url:
            yield Database(url)
        return
    server = EmbeddedPostgres(tmp_path_factory.mktemp("postgres"), durable=False)
    server.start()
    try:
        yield Database(server.url)
    finally:
        server.remove()


@pytest.fixture
def prefix() -> str:
    """A topic prefix that no other test of any run has."""
    return f"t{uuid.uuid4().hex[:10]}"
