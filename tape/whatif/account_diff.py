"""The differences of one account's proposals, with their causes."""

from collections.abc import Mapping, Sequence

from tapedeck.streams.config.document import Config
from tapedeck.streams.contract import Row
from tapedeck.streams.sessions import Calendar
from tapedeck.streams.stages.base import Body
from tapedeck.tape.whatif.accounts import (
    AccountFold,
    Folded,
    decide_alone,
    outcome_of,
    recorded_rows,
    refold,
    signals_in,
)
from tapedeck.tape.whatif.causes import causes_of
from tapedeck.tape.whatif.changes import Between
from tapedeck.tape.whatif.diff import Difference, Part
from tapedeck.tape.whatif.inbox import Corrected
from tapedeck.tape.whatif.outcomes import DecisionOutcome, ProposalOutcome

Signals = Mapping[tuple[str, int], Difference]
"""The decisions that came out otherwise, by (symbol, left edge of the bar)."""


class AccountDiff:
    """One account: ``differences`` in the order of its recorded proposals.

    ``unanswered``: (symbol, bar) of signals that became others, which the recorded answers do not price.
    ``not_again``: recorded proposals that the recorded configuration does not give.
    """

    def __init__(
        self,
        account_id: str,
        between: Between,
        calendar: Calendar,
        *,
        rows: Sequence[Row],
        proposals: Sequence[Body],
        signals: Signals,
    ) -> None:
        self.account_id, self._between, self._calendar = account_id, between, calendar
        self._rows, self._signals = rows, signals
        self._proposals = {body["signal_id"]: body for body in proposals}
        self._bars = {s["signal_id"]: (s["symbol"], s["bar_t"]) for s in signals_in(rows)}
        self._alone: dict[frozenset[str], Folded] = {}
        self._whole: dict[frozenset[str], Folded] = {}
        self.recorded = self._decide_alone()
        decided = {key: each.now for key, each in signals.items()}
        as_decisions = {k: now if isinstance(now, DecisionOutcome) else None for k, now in decided.items()}
        corrected = Corrected(frozenset(self.recorded.orders.values()), as_decisions)
        self.again = refold(self._fold(between.changed), rows, corrected.row)
        self.unanswered = corrected.unanswered
        pairs = ((outcome_of(body), _outcome(self.recorded, i)) for i, body in self._proposals.items())
        self.not_again = sum(recorded != again for recorded, again in pairs)
        self.differences = self._compare()

    def _fold(self, config: Config) -> AccountFold:
        return AccountFold(config, self.account_id, self._calendar)

    def _decide_alone(self) -> Folded:
        """Each parameter alone and all together, in one pass over the inbox."""
        names = [frozenset((name,)) for name in self._between.units]
        wanted = list(dict.fromkeys([*names, frozenset(self._between.units)]))
        base, folds = self._pass(wanted)
        self._alone = {frozenset(): base} | dict(zip(wanted, folds, strict=True))
        return base

    def _pass(self, wanted: Sequence[frozenset[str]]) -> tuple[Folded, list[Folded]]:
        folds = [self._fold(self._between.with_only(units)) for units in wanted]
        return decide_alone(self._fold(self._between.base), folds, self._rows)

    def _compare(self) -> list[Difference]:
        found: list[Difference] = []
        identities = dict.fromkeys([*self._proposals, *self.again.proposals])
        for identity in identities:
            body = self._proposals.get(identity)
            was, now = None if body is None else outcome_of(body), _outcome(self.again, identity)
            if was != now:
                found.append(self._difference(identity, was, now, found))
        return found

    def _difference(
        self,
        identity: str,
        was: ProposalOutcome | None,
        now: ProposalOutcome | None,
        earlier: Sequence[Difference],
    ) -> Difference:
        body = self._proposals.get(identity) or self.again.proposals[identity]
        units = self._between.units
        follows = self._signals.get(self._bars.get(identity, ("", 0)))
        causes: tuple[str, ...] = ()
        if follows is None:
            causes = causes_of(units, now, lambda names: self._outcome_alone(identity, names))
            if not causes:
                follows = next((each for each in earlier if _orders_differ(each)), None)
            if not causes and follows is None:
                causes = causes_of(units, now, lambda names: self._outcome_whole(identity, names))
        return Difference(
            part=Part.PROPOSAL,
            at=body["event_time"],
            symbol=body["symbol"],
            subject=identity,
            account=self.account_id,
            was=was,
            now=now,
            causes=causes,
            follows=follows,
        )

    def _outcome_alone(self, identity: str, units: frozenset[str]) -> ProposalOutcome | None:
        if units not in self._alone:
            self._alone[units] = self._pass([units])[1][0]
        return _outcome(self._alone[units], identity)

    def _outcome_whole(self, identity: str, units: frozenset[str]) -> ProposalOutcome | None:
        """As ``_outcome_alone`` on the state that the same parameters give: what is left where no decision
        came before, such as an order that was asked about at another time."""
        if units not in self._whole:
            fold = self._fold(self._between.with_only(units))
            self._whole[units] = refold(fold, self._rows, recorded_rows)
        return _outcome(self._whole[units], identity)


def _outcome(folded: Folded, identity: str) -> ProposalOutcome | None:
    body = folded.proposals.get(identity)
    return None if body is None else outcome_of(body)


def _orders_differ(difference: Difference) -> bool:
    """Whether the account holds or has promised something else from here on."""
    return any(each is not None and each.acts for each in (difference.was, difference.now))
