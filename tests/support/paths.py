"""Runs of the whole path that several tests check, and helpers to check them."""

from collections import defaultdict
from dataclasses import replace
from decimal import Decimal
from functools import cache
from typing import Any

from tapedeck.connectors.tapes.generator import generate
from tapedeck.connectors.tapes.tape import Tape
from tapedeck.schemas.codec import decode
from tapedeck.streams.config.document import Config
from tapedeck.streams.config.examples import EXAMPLE_ACCOUNTS
from tapedeck.streams.protocol import Message
from tapedeck.streams.sessions import xnys
from tapedeck.streams.sim.log import MemoryLog
from tapedeck.streams.sim.task import SimTask
from tapedeck.streams.stages.topology import TOPOLOGY
from tapedeck.streams.topology import make
from tapedeck.streams.watermarks import punctuation_of
from tapedeck.streams.wire import Wire
from tapedeck.tape.sim.simulation import Simulation
from tapedeck.topics.catalogue import Layout
from tests.support.sim_tapes import small_tape

CONFIG = Config(accounts=EXAMPLE_ACCOUNTS)
ACCOUNTS = tuple(account.account_id for account in EXAMPLE_ACCOUNTS)
INBOX = "account_inbox"
A_DOZEN = ("AMD", "BAC", "CRM", "JPM", "MSFT", "NVDA", "ORCL", "PFE", "PG", "QCOM", "WMT", "XOM")
OUTPUTS = TOPOLOGY.stage("account").outputs
UNTIL = 160  # minutes: after two planted moves, an option and a stock
ORDERED_AT = 109  # the minute whose bar signals the first of them


@cache
def whole_day() -> Simulation:
    """A whole synthetic day of a dozen symbols, with each of the three planted trades."""
    return Simulation(TOPOLOGY, generate(symbols=A_DOZEN), CONFIG).play()


@cache
def morning() -> Simulation:
    """Five symbols until after the second planted move."""
    return Simulation(TOPOLOGY, cut(small_tape(), slice(UNTIL)), CONFIG).play().rest(2)


def cut(tape: Tape, *windows: slice) -> Tape:
    """The tape with only the minutes of ``windows``; labels jump between windows."""
    return replace(tape, minutes=tuple(minute for window in windows for minute in tape.minutes[window]))


def bodies(log: MemoryLog, name: str) -> list[dict[str, Any]]:
    return [decode(name, message.value) for message in log.messages(name) if message.value is not None]


def inbox_of(log: MemoryLog, account: str) -> list[Message]:
    return [message for message in log.messages(INBOX) if message.key == account.encode()]


def copied(log: MemoryLog, *names: str) -> MemoryLog:
    """A log that holds only ``names``."""
    fresh = MemoryLog(log.layout)
    for name in names:
        for message in log.messages(name):
            fresh.append(wire(message))
    return fresh


def wire(message: Message) -> Wire:
    """A message without its offset."""
    return Wire(
        message.topic, message.partition, message.key or b"", message.value, message.timestamp,
        list(message.headers),
    )  # fmt: skip


def account_task(log: MemoryLog, account: str, config: Config = CONFIG) -> SimTask:
    """The account stage of one account over the inbox in ``log``, without a dispatcher."""
    home = Layout().partition(INBOX, {"account_id": account})
    stage = make(TOPOLOGY.account, config, xnys(), account)
    return SimTask(TOPOLOGY.stage("account"), stage, log, (home,), only_key=account.encode())


def by_minute(log: MemoryLog, name: str) -> dict[int, list[Wire]]:
    """The records of a topic by the label of the watermark that ends their minute: both, and the opening."""
    found: dict[int, list[Wire]] = defaultdict(list)
    for partition in range(log.layout.partitions(name)):
        waiting: list[Wire] = []
        for message in log.read(name, partition, 0):
            waiting.append(wire(message))
            ended = punctuation_of(message.key, message.value, message.headers)
            if ended is not None:
                found[ended.label] += waiting
                waiting = []
    return found


def held(log: MemoryLog, account: str) -> dict[str, Decimal]:
    """The account stage's positions: quantity by instrument, without flat ones."""
    newest = {p["instrument"]: p["qty"] for p in bodies(log, "positions") if p["account_id"] == account}
    return {instrument: qty for instrument, qty in newest.items() if qty}


def at_broker(simulation: Simulation, account: str) -> dict[str, Decimal]:
    """The paper exchange's positions."""
    number = CONFIG.account(account).broker_account_id
    return {at["symbol"]: Decimal(at["qty"]) for at in simulation.exchange.positions(number)}
