"""What a dispatcher does, step by step: at its start, in a minute of signals, at a control or a halt.

The live dispatcher and the simulated one take their steps from here, and each performs them in its own way:
one awaits a log and a broker, the other burns a fuse and lets the exchange's time pass. A step is made when
the one before it has been performed, so it sees what that left.

Where the two sequences differ, ``Manner`` says how and why. Two things run beside them in the live
dispatcher: ticks, while the simulated one ticks with each minute and at each step of an order, and the trade
updates.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final, Protocol

from tapedeck.connectors.controls import EVERY_ACCOUNT
from tapedeck.connectors.dispatch.dispatcher import Dispatcher
from tapedeck.connectors.dispatch.inbox import Body, Newest
from tapedeck.connectors.dispatch.inputs import CONTROLS, MARKET_EVENTS
from tapedeck.connectors.dispatch.router import Minute
from tapedeck.connectors.outlook.records import Known
from tapedeck.schemas.codec import decode
from tapedeck.schemas.errors import DeadLetter
from tapedeck.streams.protocol import SECOND_US, Message
from tapedeck.streams.sessions import Calendar

IDENTITY_US = 300 * SECOND_US
"""How often the dispatcher asks, of itself, whose account this is and what the broker holds."""

FETCH_ACCOUNT: Final[Body] = {"kind": "FETCH_ACCOUNT", "request_id": ""}
FETCH_BROKER: Final[Body] = {"kind": "FETCH_BROKER", "request_id": ""}


@dataclass(frozen=True, slots=True, kw_only=True)
class Manner:
    """In what a driver's sequence is its own."""

    settles_its_start: bool
    """Whether the start ends with everything folded. The simulated dispatcher does one thing at a time, so
    nothing else would fold its start before the first minute. The live one folds meanwhile; a minute that
    comes first is appended behind the start, and settles both."""

    repeats_self_test: bool
    """Whether a self-test that failed is run again with the account's identity, in session. A live process
    may start before the market opens, when it has no quote yet. The simulated exchange has one from its
    first moment on; and before an order that opens, either runs a failed self-test again."""


LIVE = Manner(settles_its_start=False, repeats_self_test=True)
SIMULATED = Manner(settles_its_start=True, repeats_self_test=False)


@dataclass(frozen=True, slots=True)
class Reach:
    """The minute with this label has ended. The tape's clock follows; an exchange has its own time."""

    label: int


@dataclass(frozen=True, slots=True)
class AwaitStart:
    """Go on when the start is over. The simulated dispatcher reads nothing before that."""


@dataclass(frozen=True, slots=True)
class SelfTest:
    """Check what must work before anything opens. ``starting``: a market may have no quote yet."""

    starting: bool


@dataclass(frozen=True, slots=True)
class Append:
    """Append records to the inbox, in order; there may be none. ``passed``: messages that they pass on."""

    bodies: Sequence[Body]
    passed: Sequence[Message] = field(default=(), compare=False)


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Ask what the broker holds, and append it."""


@dataclass(frozen=True, slots=True)
class Open:
    """The start is over: minutes and controls may come, and the stream of trade updates begins.

    The live dispatcher connects now, and appends the stream's record when the connection stands. The
    simulated one has heard all updates since it took the lease of ``epoch``, and appends the record now.
    """

    epoch: int


@dataclass(frozen=True, slots=True)
class Call:
    """Perform a request that the account did not make, and append the answers.

    ``takes_time``: false for the comparison with the broker, so that nothing in a simulation happens later
    for it. A real call takes what it takes.
    """

    request: Body
    takes_time: bool = True


@dataclass(frozen=True, slots=True)
class Settle:
    """Wait until everything appended is folded and everything asked for, and due, is answered."""


@dataclass(frozen=True, slots=True)
class Bury:
    """Keep what can never be read; there may be nothing."""

    dead: Sequence[tuple[Message, DeadLetter]]


@dataclass(frozen=True, slots=True)
class Report:
    """Say that the minute is done, to whoever watches the process. Nobody watches a simulated one."""

    label: int


@dataclass(frozen=True, slots=True)
class Ack:
    """Acknowledge messages: a process that starts from here on does not see them again."""

    messages: Sequence[Message]


Step = Reach | AwaitStart | SelfTest | Append | Snapshot | Open | Call | Settle | Bury | Report | Ack


class NewestBars(Protocol):
    """What a driver has seen: the newest bar and feature of each symbol, and what counts of other topics."""

    def of(self, symbol: str, known_t: int, /) -> Newest: ...

    def bars(self, symbols: Iterable[str], /) -> dict[str, Body]: ...

    def known(self, now: int, symbols: Iterable[str], /) -> Known: ...


class Routine:
    """The steps of one account's dispatcher. ``now``: its time, UTC microseconds."""

    def __init__(
        self,
        account_id: str,
        desk: Dispatcher,
        newest: NewestBars,
        *,
        now: Callable[[], int],
        calendar: Calendar,
        manner: Manner,
    ) -> None:
        self._account_id, self._desk, self._newest = account_id, desk, newest
        self._now, self._calendar, self._manner = now, calendar, manner
        self._identity_at = 0

    def start(self, epoch: int) -> Iterator[Step]:
        """A process that has taken the account over, with the lease of ``epoch``."""
        yield SelfTest(starting=True)
        yield Append([self._desk.started(epoch)])
        yield Snapshot()
        self._identity_at = self._now()
        yield Open(epoch)
        if self._manner.settles_its_start:
            yield Settle()

    def minute(self, minute: Minute) -> Iterator[Step]:
        """A minute of signals is complete."""
        yield Reach(minute.label)
        yield AwaitStart()
        yield Bury(minute.dead)
        newest = {each["symbol"]: self._newest.of(each["symbol"], each["bar_t"]) for each in minute.signals}
        yield Append(self._desk.outlook(self._newest.known(self._now(), self._desk.watching.symbols)))
        yield Append(self._desk.collect(minute.signals, newest), minute.messages)
        yield Append(self._desk.bars(self._newest.bars(self._desk.watching.symbols)))
        yield Append(self._desk.ticks())
        look = self._now() - self._identity_at >= IDENTITY_US
        if look:
            self._identity_at = self._now()
            yield Call(FETCH_ACCOUNT)
            if self._manner.repeats_self_test and self._should_test_again():
                yield SelfTest(starting=False)
        yield Settle()
        if look:  # last, so that what the minute brought about is no difference
            yield Call(FETCH_BROKER, takes_time=False)
            yield Settle()
        yield Report(minute.label)
        yield Ack(minute.messages)

    def control(self, message: Message) -> Iterator[Step]:
        """A control, of this account, of every account or of another one."""
        return self._routed(CONTROLS, message, self._controlled)

    def market_event(self, message: Message) -> Iterator[Step]:
        """A market event: a halt and a resumption reach every account, whatever it holds."""
        return self._routed(MARKET_EVENTS, message, self._desk.market_event)

    def _controlled(self, body: Body) -> list[Body]:
        return [self._desk.control(body)] if body["scope"] in (EVERY_ACCOUNT, self._account_id) else []

    def _routed(
        self, name: str, message: Message, bodies: Callable[[Body], Sequence[Body]]
    ) -> Iterator[Step]:
        """Append what becomes of one record, behind the start: its time is that of the append."""
        try:
            body = decode(name, message.value)
        except DeadLetter as error:
            yield Bury([(message, error)])
        else:
            yield AwaitStart()
            yield Append(bodies(body), [message])
        yield Ack([message])

    def _should_test_again(self) -> bool:
        return not self._desk.tested and self._calendar.session_at(self._now()) is not None
