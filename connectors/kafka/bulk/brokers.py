"""The brokers of a cluster: who leads which partition, and connections to them."""

import time
from collections.abc import Callable, Iterable
from typing import Any, TypeVar

from aiokafka.conn import collect_hosts
from aiokafka.protocol.metadata import MetadataRequest

from tapedeck.connectors.kafka.cluster import Cluster
from tapedeck.connectors.kafka.connection import Connection, Passing, demand
from tapedeck.schemas.errors import Fatal, Retry

SILENT_S = 15.0
"""How long a broker may stay silent."""

_PAUSE_S = 0.1
_NEW_S = 1.0
_UNKNOWN, _INVALID = 3, 17
_Answer = TypeVar("_Answer")

_Address = tuple[str, int]

WirePart = tuple[str, int]
"""A partition by its topic's name on the cluster."""


def _throttle_of(answer: Any) -> int:
    return int(getattr(answer, "throttle_time_ms", 0))


class Patience:
    """Waits between attempts, until nothing came for ``limit_s`` seconds by ``clock_s``."""

    def __init__(self, limit_s: float, doing: str, bootstrap: str, clock_s: Callable[[], float]) -> None:
        self._limit_s, self._doing, self._bootstrap, self._clock_s = limit_s, doing, bootstrap, clock_s
        self.reset()

    def reset(self) -> None:
        """Something came: start the time over."""
        self._until = self._clock_s() + self._limit_s

    def bear(self, fault: Passing) -> None:
        """Wait a moment. Raises Retry when the time is up."""
        if self._clock_s() + _PAUSE_S > self._until:
            raise Retry(
                f"the broker at {self._bootstrap} sent nothing for {self._limit_s:g} s while {self._doing}",
                value=str(fault) or type(fault).__name__,
                remedy=fault.remedy,
            ) from None
        time.sleep(_PAUSE_S)


class Brokers:
    """Leaders of partitions, and connections to them. For one thread of one process."""

    def __init__(self, cluster: Cluster, silent_s: float = SILENT_S) -> None:
        self._cluster, self.silent_s, self.rack = cluster, silent_s, cluster.security.rack
        self._addresses: dict[int, tuple[str, int]] = {}
        self._leaders: dict[WirePart, int] = {}
        self._free: dict[int, list[Connection]] = {}
        self._quiet: dict[_Address, float] = {}
        self._rested_s = 0.0

    def rest(self, node: int, throttle_ms: int) -> None:
        """``node`` asked for no request for ``throttle_ms`` from now on, in an answer (KIP-219)."""
        self._rest(self._addresses.get(node), throttle_ms)

    def quiet_s(self, node: int) -> float:
        """How much longer ``node`` wants no request."""
        return self._left(self._addresses.get(node))

    def wait(self, nodes: Iterable[int]) -> None:
        """Return when one of ``nodes`` accepts a request. This does not count as silence."""
        self._sleep(min(map(self.quiet_s, nodes), default=0.0))

    def _rest(self, address: _Address | None, throttle_ms: int) -> None:
        if address and throttle_ms > 0:
            self._quiet[address] = time.monotonic() + throttle_ms / 1000

    def _left(self, address: _Address | None) -> float:
        return max(0.0, self._quiet[address] - time.monotonic()) if address in self._quiet else 0.0

    def _sleep(self, seconds: float) -> None:
        if seconds > 0:
            time.sleep(seconds)
            self._rested_s += seconds

    def patience(self, doing: str, limit_s: float | None = None) -> Patience:
        """A Patience for attempts at ``doing``; the default limit is the allowed silence."""
        limit_s = self.silent_s if limit_s is None else limit_s
        return Patience(limit_s, doing, self._cluster.bootstrap, self._patience_clock)

    def _patience_clock(self) -> float:
        return time.monotonic() - self._rested_s

    def patiently(self, ask: Callable[[], _Answer], doing: str, limit_s: float | None = None) -> _Answer:
        """The result of ``ask``, repeated while it raises Passing. Raises Retry when patience runs out."""
        patience = self.patience(doing, limit_s)
        while True:
            try:
                return ask()
            except Passing as fault:
                patience.bear(fault)

    def leader(self, part: WirePart) -> int:
        """The node that leads ``part``. Raises Passing if none does, Fatal if it does not exist."""
        found = self.leaders((part,))
        if not found:
            raise Passing(f"{part[0]}/{part[1]} has no leader")
        return found[part]

    def leaders(self, parts: Iterable[WirePart]) -> dict[WirePart, int]:
        """The nodes that lead ``parts``, without those that have no leader at the moment."""
        parts = list(parts)
        if names := sorted({part[0] for part in parts if part not in self._leaders}):
            self.learn(names)
        return {part: self._leaders[part] for part in parts if part in self._leaders}

    def forget(self, part: WirePart) -> None:
        """Forget the leader of ``part``, to ask for it again."""
        self._leaders.pop(part, None)

    def learn(self, names: Iterable[str]) -> dict[str, int]:
        """Ask for the leaders of topics; returns their partition counts. Raises Fatal for a missing one."""
        answer = self._described(list(names))
        self._addresses = {node: (host, port) for node, host, port, *_ in answer.brokers}
        counts = {}
        for code, name, _, partitions in answer.topics:
            if code in (_UNKNOWN, _INVALID):
                remedy = "create the topics with `tape topics --create`, or check the prefix"
                raise Fatal(f"topic {name} cannot be read: the cluster does not have it", remedy=remedy)
            demand(code, f"asking for the leaders of {name}")
            counts[name] = len(partitions)
            for _, partition, leader, *_ in partitions:
                self._leaders.pop((name, partition), None)
                if leader >= 0:
                    self._leaders[name, partition] = leader
        return counts

    def _described(self, names: list[str]) -> Any:
        """A broker's description of topics; a new one may not have reached every broker yet."""
        until = time.monotonic() + _NEW_S
        while True:
            answer = self.ask_any(MetadataRequest(names, False))
            codes = {code for code, *_ in answer.topics}
            if _UNKNOWN not in codes or time.monotonic() > until:
                return answer
            time.sleep(_PAUSE_S)

    def nodes(self) -> list[int]:
        """The brokers of the cluster at the last request for leaders."""
        return sorted(self._addresses)

    def ask_any(self, request: Any) -> Any:
        """The answer of the first broker that answers."""
        fault: Passing | None = None
        for host, port in self._known():
            try:
                self._sleep(self._left((host, port)))
                connection = Connection(self._cluster, host, port, self.silent_s)
                try:
                    answer = connection.ask(request)
                    self._rest((host, port), _throttle_of(answer))
                    return answer
                finally:
                    connection.close()
            except Passing as error:
                fault = error
        raise fault or Passing(f"{self._cluster.bootstrap} names no broker")

    def _known(self) -> list[tuple[str, int]]:
        first = [(host, port) for host, port, _ in collect_hosts(self._cluster.bootstrap)]
        return [*self._addresses.values(), *(each for each in first if each not in self._addresses.values())]

    def borrow(self, node: int) -> Connection:
        """A connection to ``node`` that nothing else uses. Close it or give it back."""
        if free := self._free.get(node):
            return free.pop()
        if node not in self._addresses:
            raise Passing(f"node {node} is not known")
        return Connection(self._cluster, *self._addresses[node], self.silent_s)

    def give_back(self, node: int, connection: Connection) -> None:
        """Keep a connection on which no answer is pending."""
        self._free.setdefault(node, []).append(connection)

    def ask(self, node: int, request: Any) -> Any:
        """One broker's answer to a request; a kept connection that broke meanwhile is replaced once."""
        self.wait([node])
        connection = self.borrow(node)
        try:
            answer = connection.ask(request)
        except (Passing, Fatal):
            connection.close()
            self.close()
            raise
        self.give_back(node, connection)
        self.rest(node, _throttle_of(answer))
        return answer

    def close(self) -> None:
        """Close the connections that are not in use."""
        for connections in self._free.values():
            for connection in connections:
                connection.close()
        self._free.clear()
