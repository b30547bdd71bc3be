"""A dispatcher process that is killed or frozen while it closes a position: one order each, and all agree."""

import re
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tapedeck.connectors.controls import Command, command
from tapedeck.connectors.dispatch.lease import TTL_S
from tapedeck.connectors.kafka.log import KafkaLogWriter
from tapedeck.connectors.kafka.scan import read_topic
from tapedeck.streams.digests import of_messages
from tapedeck.streams.stages.account.rules.gate_types import KillState
from tapedeck.streams.wire import Origin
from tests.conftest import Broker, Database
from tests.integration.test_live_dispatcher import ACCOUNT, BEFORE, Floor, a_floor
from tests.support.live import Workers, eventually
from tests.support.paths import CONFIG, INBOX, ORDERED_AT

pytestmark = [pytest.mark.integration, pytest.mark.chaos, pytest.mark.long]
MINUTES = slice(ORDERED_AT - BEFORE, ORDERED_AT + 12)
REFUSED = re.compile(
    r"has another dispatcher: \d+ calls of the broker and \d+ records were held back"
    r"|was blocked for [\d.]+ s, longer than the session timeout of [\d.]+ s: exiting"
)
"""Its lease and its place in the group are both over: which of the two it meets first is chance."""


@pytest.fixture
def floor(kafka: Broker, postgres: Database, prefix: str, tmp_path: Path) -> Iterator[Floor]:
    workers = Workers(kafka.bootstrap, prefix, tmp_path, CONFIG)
    with a_floor(workers, postgres, MINUTES) as made:
        yield made
        workers.stop()


def close_all(floor: Floor) -> None:
    """A person's command to close what is held."""
    (held,) = [each for each in floor.of("positions") if each["qty"]][-1:]
    writer = KafkaLogWriter(floor.workers.cluster, Origin("test", "test", ""))
    now = floor.labels[BEFORE + 2]
    body = command(
        ACCOUNT, Command.CLOSE_POSITION, str(held["position_id"]),
        state=KillState.ACTIVE, person="ada", reason="a drill", now=now,
    )  # fmt: skip
    writer.send("controls", body)
    writer.close()


def flat(floor: Floor) -> bool:
    """Nothing is held, neither here nor at the broker."""
    newest = {each["position_id"]: each["qty"] for each in floor.of("positions")}
    return bool(newest) and not any(newest.values()) and floor.at_broker() == {}


def has_intent(floor: Floor) -> bool:
    return any(each["purpose"] == "CLOSE" for each in floor.of("orders"))


def is_at_the_broker(floor: Floor) -> bool:
    return any(each["side"] == "sell" for each in floor.sent())


def killed(floor: Floor, first: subprocess.Popen[bytes]) -> None:
    first.send_signal(signal.SIGKILL)
    assert first.wait(10) == -signal.SIGKILL
    floor.start("two")


def frozen(floor: Floor, first: subprocess.Popen[bytes]) -> None:
    """Until another one has the account; it wakes with work to do, and ends."""
    first.send_signal(signal.SIGSTOP)
    floor.start("two")
    time.sleep(TTL_S)
    eventually(lambda: len(floor.payloads("InboxStarted")) == 2, "another one to take the account", 60)
    first.send_signal(signal.SIGCONT)
    assert first.wait(60) not in (0, None)
    assert REFUSED.search(floor.workers.log_of("dispatch", ACCOUNT))


@pytest.mark.parametrize(
    "moment, strike",
    [(has_intent, killed), (is_at_the_broker, killed), (has_intent, frozen)],
    ids=["killed at its INTENT", "killed when the broker has it", "frozen past its lease"],
)
def test_a_close_that_is_struck_is_sent_once_and_ends_flat(floor: Floor, moment, strike) -> None:  # type: ignore[no-untyped-def]
    floor.write(floor.labels[0])
    first = floor.start("one")
    floor.settled(floor.labels[0])
    floor.play(floor.labels[1 : BEFORE + 2])
    eventually(lambda: floor.held() == floor.at_broker() != {}, "the position that the broker has", 60)
    close_all(floor)
    floor.write(floor.labels[BEFORE + 2])
    eventually(lambda: moment(floor), "the close to be under way", 60)
    strike(floor, first)
    floor.settled(floor.labels[BEFORE + 2])
    floor.play(floor.labels[BEFORE + 3 :])
    eventually(lambda: flat(floor), "the account to be flat", 90)
    names = [order["client_order_id"] for order in floor.sent()]
    assert len(names) == len(set(names))
    filled = {side: sum(int(str(each["filled_qty"])) for each in floor.sent() if each["side"] == side)
              for side in ("buy", "sell")}  # fmt: skip
    assert filled["buy"] == filled["sell"] > 0
    assert [started["lease_epoch"] for started in floor.payloads("InboxStarted")] == [1, 2]
    assert not of_messages(INBOX, read_topic(floor.workers.cluster, INBOX)).conflicts
    floor.agree()
