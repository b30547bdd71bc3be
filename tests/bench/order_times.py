"""From a signal to the exchange's acceptance of its order, in the parts that it takes.

All times are of one machine's clock: a record's, when its writer made it, just before it was sent; the
exchange's, of its own log of calls. The parts of an order are disjoint and come to the whole:

- collecting: from the signal to its record in the account's inbox, when its minute is complete;
- deciding: from there to the order's INTENT; the stage asks for a quote and a chain meanwhile;
- sending: from the INTENT to the exchange: outputs and changelog acknowledged, then the call;
- exchange: from the call to the accepted order.
"""

from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from typing import Any, NamedTuple

import requests

from tapedeck.schemas.codec import decode
from tests.bench.watching import Seen

TOPICS = ("signals", "account_inbox", "proposals", "orders")
"""What is looked at, beside the exchange's calls."""
PARTS = ("collecting", "deciding", "sending", "exchange")


class Way(NamedTuple):
    """One accepted order: when its signal was written, and milliseconds of each part after that."""

    bar_t: int
    signal_at: float
    collecting: float
    deciding: float
    sending: float
    exchange: float

    @property
    def after_collection(self) -> float:
        return self.deciding + self.sending + self.exchange

    @property
    def whole(self) -> float:
        return self.collecting + self.after_collection

    @property
    def accepted_at(self) -> float:
        """Seconds of the machine's clock."""
        return self.signal_at + self.whole / 1e3


def calls_of(url: str) -> list[Mapping[str, Any]]:
    """The newest calls about orders that the exchange at ``url`` has answered."""
    answer = requests.get(f"{url}/_paper/books", timeout=30)
    answer.raise_for_status()
    found: list[Mapping[str, Any]] = answer.json()["calls"]
    return found


def make_chains(url: str, key: str, symbols: Iterable[str]) -> None:
    """Ask for a chain of each symbol with the credentials ``key``, as this machine's exchange has them."""
    headers = {"APCA-API-KEY-ID": key, "APCA-API-SECRET-KEY": f"{key}-secret"}
    for symbol in symbols:
        address = f"{url}/v1beta1/options/snapshots/{symbol}?limit=1"
        requests.get(address, headers=headers, timeout=30).raise_for_status()


def ways(seen: Sequence[Seen], calls: Iterable[Mapping[str, Any]]) -> list[Way]:
    """The first order of each approved signal that the exchange accepted, in the order of acceptance."""
    signals: dict[str, float] = {}
    inbox: dict[tuple[str, str], float] = {}
    proposed: dict[str, tuple[str, str, int]] = {}
    intents: dict[str, float] = {}
    for each in seen:
        if each.topic not in TOPICS:
            continue
        body = decode(each.topic, each.value)
        if each.topic == "signals":
            signals.setdefault(body["signal_id"], each.written)
        elif each.topic == "account_inbox":
            kind, content = body["payload"]
            if kind.endswith("InboxSignal"):
                inbox.setdefault((body["account_id"], content["signal_id"]), each.written)
        elif each.topic == "proposals" and body["client_order_id"]:
            proposed[body["client_order_id"]] = body["account_id"], body["signal_id"], body["bar_t"]
        elif each.topic == "orders" and body["state"] == "INTENT":
            intents.setdefault(body["client_order_id"], each.written)
    found = []
    for call in sorted(calls, key=lambda each: each["done"]):
        name = call["subject"]
        if call["operation"] != "submit" or call["outcome"] != 200 or name not in proposed:
            continue
        account, signal, bar_t = proposed.pop(name)
        times = [
            signals[signal],
            inbox[account, signal],
            intents[name],
            call["came"] / 1e6,
            call["done"] / 1e6,
        ]
        parts = [1e3 * (after - before) for before, after in pairwise(times)]
        found.append(Way(bar_t, times[0], *parts))
    return found
