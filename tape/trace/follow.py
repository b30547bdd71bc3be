"""Sending traces while a pipeline runs, from beside it: the topics are read, and no worker knows of it.

The trace of every new order is sent, and of a sample of the minutes. Sampling goes by the trace id, so two
processes choose the same minutes, as OpenTelemetry's own sampler would. A trace is sent when nothing was
added to it for a while. What was sent is not sent again.
"""

from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace

from tapedeck.connectors.otlp import Span
from tapedeck.schemas.errors import Fatal, Retry
from tapedeck.streams.blocks import Source
from tapedeck.streams.merge import Part
from tapedeck.streams.protocol import SECOND_US
from tapedeck.streams.topology import Topology
from tapedeck.streams.wire import trace_of
from tapedeck.tape.explain.describe import names
from tapedeck.tape.explain.lookup import Found, Lookup, opened
from tapedeck.tape.trace.collect import trace_from
from tapedeck.tape.trace.spans import spans_of
from tapedeck.tape.why.way import Way

RATIO, SAMPLER_ARG = 0.01, "OTEL_TRACES_SAMPLER_ARG"
SETTLE_US = 10 * SECOND_US
"""How long nothing must be added to a trace before it is sent."""
_REMEMBERED = 200_000

Send = Callable[[Sequence[Span]], None]


def ratio_in(text: str, name: str) -> float:
    """A sampling ratio, 0 to 1. Raises Fatal for anything else."""
    try:
        ratio = float(text)
    except ValueError:
        ratio = -1.0
    if not 0 <= ratio <= 1:
        raise Fatal(f"{name} is no ratio", value=text, remedy="give a number from 0 (no minutes) to 1 (all)")
    return ratio


def sampled(trace_id: str, ratio: float) -> bool:
    """Whether a trace is in the sample: by the lower 64 bits of its id, as in TraceIdRatioBased."""
    return int(trace_id[16:], 16) < round(ratio * 2**64)


class Follower:
    """Looks at a pipeline's topics again and again. ``send`` raises Retry if a collector takes nothing."""

    def __init__(
        self, topology: Topology, send: Send, *, ratio: float = RATIO, settle_us: int = SETTLE_US
    ) -> None:
        self._topology, self._send = topology, send
        self._ratio, self._settle_us = ratio, settle_us
        self._orders = {name: named.whole for name, named in names(topology) if named.whole}
        self._minutes = Way(topology).spine[-1]
        self._at: dict[Part, int] | None = None
        self._pending: dict[str, tuple[int, Found]] = {}
        self._sent: OrderedDict[str, None] = OrderedDict()

    @property
    def waiting(self) -> int:
        """Traces that are not sent yet."""
        return len(self._pending)

    def look(self, source: Source, now_us: int) -> int:
        """Take in what is new in ``source``, and send what is settled; returns how many spans were sent.

        The first look begins at the ends of the topics. Raises Retry like ``send``: what could not be sent
        is sent by a later look.
        """
        ends = source.ends([self._minutes, *self._orders])
        for part, (first, end) in ends.items():
            start = end if self._at is None else self._at.get(part, first)
            if start > end:  # made anew
                start = first
            for key, found in self._new(source, part, max(start, first), end):
                self._pending[key] = (now_us, found)
        self._at = {part: end for part, (_, end) in ends.items()}
        lookup, count = Lookup(source), 0
        for key, (since, found) in list(self._pending.items()):
            if now_us - since >= self._settle_us:
                count += self._send_trace(lookup, found)
                del self._pending[key]
        return count

    def _new(self, source: Source, part: Part, start: int, end: int) -> Iterator[tuple[str, Found]]:
        whole = self._orders.get(part[0])
        for block in source.stream(part, start, end) if end > start else ():
            for message in block.messages():
                trace_id = trace_of(message) if message.value is not None else None
                if trace_id is None or (whole is None and not sampled(trace_id, self._ratio)):
                    continue
                if (found := opened(message)) is not None:
                    yield (trace_id if whole is None else f"order {found.body[whole]}"), found

    def _send_trace(self, lookup: Lookup, found: Found) -> int:
        trace = trace_from(self._topology, lookup, found)
        fresh = replace(trace, hops=tuple(hop for hop in trace.hops if hop.event_id not in self._sent))
        if fresh.hops:
            self._send(spans_of(self._topology, lookup.layout, fresh))
        self._sent.update(dict.fromkeys(hop.event_id for hop in fresh.hops))
        while len(self._sent) > _REMEMBERED:
            self._sent.popitem(last=False)
        return len(fresh.hops)


def follow(
    follower: Follower,
    sources: Callable[[], AbstractContextManager[Source]],
    *,
    now: Callable[[], int],
    pause: Callable[[], bool],
    tell: Callable[[str], None],
) -> None:
    """Look until ``pause`` returns False. What is away, broker or collector, is told once and tried again."""
    away = ""
    while True:
        try:
            with sources() as source:
                count = follower.look(source, now())
            if count or away:
                tell(f"sent {count} spans; {follower.waiting} traces wait until nothing is added to them")
            away = ""
        except Retry as error:
            if not away:
                tell(f"{error}; {follower.waiting} traces wait for it")
            away = str(error)
        if not pause():
            return
