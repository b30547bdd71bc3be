"""Workers on the run's broker, and a broker of its own for a test that hurts it."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tapedeck.tape.local.kafka import EmbeddedKafka
from tapedeck.tape.local.places import cache_dir
from tests.conftest import Broker
from tests.support.live import Workers
from tests.support.sim_tapes import CONFIG


@pytest.fixture
def workers(kafka: Broker, prefix: str, tmp_path: Path) -> Iterator[Workers]:
    """Workers of one test on the run's broker."""
    started = Workers(kafka.bootstrap, prefix, tmp_path, CONFIG)
    yield started
    started.stop()


@pytest.fixture
def broker(kafka: Broker, tmp_path: Path) -> Iterator[EmbeddedKafka]:
    """A second broker that a test may stop or freeze; ``kafka`` has filled the cache."""
    second = EmbeddedKafka(tmp_path / "second", cache_dir())
    second.start()
    yield second
    second.kill()
