"""The account part of a what-if: folds an inbox again, and decides each proposal on the recorded state."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from tapedeck.schemas.errors import DeadLetter
from tapedeck.streams.config.document import Config
from tapedeck.streams.protocol import Row
from tapedeck.streams.sessions import Calendar
from tapedeck.streams.stages.account import signals
from tapedeck.streams.stages.account.rules.gate_types import Rules
from tapedeck.streams.stages.account.stage import after_decisions, before_decisions
from tapedeck.streams.stages.account.state import AccountState, Asked, Evaluation, pack, unpack
from tapedeck.streams.stages.account.trail import ORDERS, PROPOSALS
from tapedeck.streams.stages.account.turn import Turn
from tapedeck.streams.stages.base import Body
from tapedeck.tape.whatif.inbox import payload_of
from tapedeck.tape.whatif.outcomes import ProposalOutcome

SIGNAL = "InboxSignal"
_COMPARED = tuple(name for name in ProposalOutcome._fields if name != "refused")


class Proposal(NamedTuple):
    """What is kept of a proposal. ``at``: its event time, UTC microseconds."""

    signal_id: str
    symbol: str
    at: int
    config_digest: str
    outcome: ProposalOutcome


def proposal_of(body: Body) -> Proposal:
    """The fields that runs are compared by, and its name."""
    outcome = _outcome_of(body)
    return Proposal(body["signal_id"], body["symbol"], body["event_time"], body["config_digest"], outcome)


def _outcome_of(body: Body) -> ProposalOutcome:
    refused = tuple((gate["gate"], gate["reason"]) for gate in body["gates"] if not gate["passed"])
    return ProposalOutcome(**{name: body[name] for name in _COMPARED}, refused=refused)


@dataclass
class Folded:
    """One fold of an inbox. ``proposals`` by signal_id; ``orders``: signal_ids, by client id, empty for an
    exit's;
    ``waiting``: signals that were never decided."""

    proposals: dict[str, Proposal] = field(default_factory=dict)
    orders: dict[str, str] = field(default_factory=dict)
    waiting: list[str] = field(default_factory=list)

    def take(self, turn: Turn) -> None:
        """Keep the outputs of one record."""
        for out in turn.outs:
            if out.topic == PROPOSALS:
                self.proposals.setdefault(out.body["signal_id"], proposal_of(out.body))
            elif out.topic == ORDERS:
                self.orders[out.body["client_order_id"]] = out.body["signal_id"]


class AccountFold:
    """One account under one configuration, record by record, each decision separately.

    It does what ``AccountStage`` does with a batch of one; the stage itself cannot stop between two
    decisions of one record.
    """

    def __init__(self, config: Config, account_id: str, calendar: Calendar) -> None:
        self._rules, self._calendar = Rules(config.account(account_id), config), calendar

    def turn(self, state: AccountState, row: Row) -> Turn:
        turn = Turn(self._rules, self._calendar, state)
        turn.at(0, row)
        return turn

    def take(self, state: AccountState, row: Row) -> Turn | None:
        """Fold one record, without its decisions; None for a record that live rejected."""
        turn = self.turn(state, row)
        try:
            before_decisions(turn, row)
        except DeadLetter:
            return None
        return turn

    def decide_first(self, turn: Turn) -> bool:
        """Decide the first waiting signal, if its answers have arrived."""
        state = turn.state
        first, *rest = state.pending
        known = dict(state.outstanding)
        state.pending = [first]
        signals.advance(turn)
        decided = not state.pending
        state.pending += rest
        for other in rest if decided else ():
            state.outstanding |= {each: known[each] for each in other.waiting if each in known}
        return decided


Correct = Callable[[Row, AccountState], Row | None]


def refold(fold: AccountFold, rows: Iterable[Row], correct: Correct) -> Folded:
    """The whole inbox under one configuration; ``correct`` turns each record into what it would have been."""
    state, found = AccountState(), Folded()
    for recorded in rows:
        row = correct(recorded, state)
        turn = None if row is None else fold.take(state, row)
        if turn is None:
            continue
        while state.pending and fold.decide_first(turn):
            pass
        after_decisions(turn)
        found.take(turn)
    found.waiting = [evaluation.signal.signal_id for evaluation in state.pending]
    return found


@dataclass
class _Alone:
    """The pending signals under one configuration, next to the recorded account."""

    fold: AccountFold
    pending: list[Evaluation] = field(default_factory=list)
    outstanding: dict[str, Asked] = field(default_factory=dict)
    found: Folded = field(default_factory=Folded)

    def keep(self, state: AccountState) -> None:
        """What its signals wait for."""
        mine = {each for evaluation in self.pending for each in evaluation.waiting}
        known = {**self.outstanding, **state.outstanding}
        self.outstanding = {each: known[each] for each in mine if each in known}


def decide_alone(
    base: AccountFold, folds: Sequence[AccountFold], rows: Iterable[Row]
) -> tuple[Folded, list[Folded]]:
    """(the recorded fold, each of ``folds``' decision for every signal on the recorded account's state).

    From its arrival to its decision, a signal belongs to that fold: its requests, its choice of contract.
    The account's orders, positions and used limits are as recorded when the signal was decided.
    """
    state, recorded = AccountState(), Folded()
    alone = [_Alone(fold) for fold in folds]
    for row in rows:
        begins = payload_of(row)[0] == SIGNAL
        watched = [each for each in alone if begins or each.pending]
        before = pack(state) if watched else b""
        turn = base.take(state, row)
        if turn is None:
            continue
        deciding: dict[str, bytes] = {}
        while state.pending:
            first = state.pending[0].signal.signal_id
            at = pack(state) if watched else b""
            if not base.decide_first(turn):
                break
            deciding[first] = at
        after_decisions(turn)
        recorded.take(turn)
        after = pack(state) if watched else b""
        for each in watched:
            _take_alone(each, row, before)
            _decide_alone(each, row, deciding, after)
    recorded.waiting = [evaluation.signal.signal_id for evaluation in state.pending]
    return recorded, [each.found for each in alone]


def _take_alone(alone: _Alone, row: Row, before: bytes) -> None:
    state = unpack(before)
    state.pending, state.outstanding = alone.pending, state.outstanding | alone.outstanding
    alone.fold.take(state, row)
    alone.pending = state.pending
    alone.keep(state)


def _decide_alone(alone: _Alone, row: Row, deciding: Mapping[str, bytes], after: bytes) -> None:
    for evaluation in list(alone.pending):
        signal_id = evaluation.signal.signal_id
        state = unpack(deciding.get(signal_id, after))
        # if it is decided later than recorded, its own recorded order must not block it
        state.orders = {i: order for i, order in state.orders.items() if order.signal_id != signal_id}
        state.parents = {i: each for i, each in state.parents.items() if each.signal_id != signal_id}
        state.pending = [evaluation]
        state.outstanding |= alone.outstanding
        turn = alone.fold.turn(state, row)
        if not alone.fold.decide_first(turn):
            alone.keep(state)
            return
        alone.pending.remove(evaluation)
        alone.found.take(turn)


def recorded_rows(row: Row, state: AccountState) -> Row:
    """The inbox unchanged."""
    return row
