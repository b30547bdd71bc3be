"""The differences of one account's proposals, with their causes."""

from collections.abc import Iterable, Iterator, Mapping, Sequence

from tapedeck.streams.config.document import Config
from tapedeck.streams.protocol import Row
from tapedeck.streams.sessions import Calendar
from tapedeck.tape.whatif.accounts import (
    SIGNAL,
    AccountFold,
    Folded,
    Proposal,
    decide_alone,
    recorded_rows,
    refold,
)
from tapedeck.tape.whatif.causes import causes_of
from tapedeck.tape.whatif.changes import Between
from tapedeck.tape.whatif.diff import Difference, Part
from tapedeck.tape.whatif.inbox import Corrected, payload_of
from tapedeck.tape.whatif.outcomes import DecisionOutcome, ProposalOutcome

Signals = Mapping[tuple[str, int], Difference]
"""The decisions that changed, by (symbol, left edge of the bar)."""


class AccountDiff:
    """One account: ``differences`` in the order of its recorded proposals.

    ``rows``, its inbox, is read several times and never held in memory.
    ``unanswered``: (symbol, bar) of changed signals, which the recorded answers do not price.
    ``not_again``: recorded proposals that the recorded configuration does not reproduce.
    """

    def __init__(
        self,
        account_id: str,
        between: Between,
        calendar: Calendar,
        *,
        rows: Iterable[Row],
        proposals: Sequence[Proposal],
        signals: Signals,
        apart: frozenset[str] = frozenset(),
    ) -> None:
        self.account_id, self._between, self._calendar = account_id, between, calendar
        self._rows, self._signals, self._apart = rows, signals, apart
        self._proposals = {made.signal_id: made for made in proposals}
        self._bars: dict[str, tuple[str, int]] = {}
        self._alone: dict[frozenset[str], Folded] = {}
        self._whole: dict[frozenset[str], Folded] = {}
        self.recorded = self._decide_alone()
        decided = {key: each.now for key, each in signals.items()}
        as_decisions = {k: now if isinstance(now, DecisionOutcome) else None for k, now in decided.items()}
        corrected = Corrected(frozenset(self.recorded.orders), as_decisions, apart)
        self.again = refold(self._fold(between.changed), rows, corrected.row)
        self.unanswered = corrected.unanswered
        pairs = ((made.outcome, _outcome(self.recorded, i)) for i, made in self._proposals.items())
        self.not_again = sum(recorded != again for recorded, again in pairs)
        self.differences = self._compare()

    def _fold(self, config: Config) -> AccountFold:
        return AccountFold(config, self.account_id, self._calendar)

    def _decide_alone(self) -> Folded:
        """Each parameter alone and all together, in one pass over the inbox."""
        names = [frozenset((name,)) for name in self._between.units]
        wanted = list(dict.fromkeys([*names, frozenset(self._between.units)]))
        base, folds = self._pass(wanted, self._noted())
        self._alone = {frozenset(): base} | dict(zip(wanted, folds, strict=True))
        return base

    def _noted(self) -> Iterator[Row]:
        """The inbox, noting the bar of each signal."""
        for row in self._rows:
            name, fields = payload_of(row)
            if name == SIGNAL and fields["signal_id"] not in self._apart:
                self._bars[fields["signal_id"]] = fields["symbol"], fields["bar_t"]
            yield row

    def _pass(self, wanted: Sequence[frozenset[str]], rows: Iterable[Row]) -> tuple[Folded, list[Folded]]:
        folds = [self._fold(self._between.with_only(units)) for units in wanted]
        return decide_alone(self._fold(self._between.base), folds, rows)

    def _compare(self) -> list[Difference]:
        found: list[Difference] = []
        identities = dict.fromkeys([*self._proposals, *self.again.proposals])
        for identity in identities:
            made = self._proposals.get(identity)
            was, now = None if made is None else made.outcome, _outcome(self.again, identity)
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
        made = self._proposals.get(identity) or self.again.proposals[identity]
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
            at=made.at,
            symbol=made.symbol,
            subject=identity,
            account=self.account_id,
            was=was,
            now=now,
            causes=causes,
            follows=follows,
        )

    def _outcome_alone(self, identity: str, units: frozenset[str]) -> ProposalOutcome | None:
        if units not in self._alone:
            self._alone[units] = self._pass([units], self._rows)[1][0]
        return _outcome(self._alone[units], identity)

    def _outcome_whole(self, identity: str, units: frozenset[str]) -> ProposalOutcome | None:
        """As ``_outcome_alone``, but on the state that the same parameters give: for differences without an
        earlier decision, such as an order that was asked about at another time."""
        if units not in self._whole:
            fold = self._fold(self._between.with_only(units))
            self._whole[units] = refold(fold, self._rows, recorded_rows)
        return _outcome(self._whole[units], identity)


def _outcome(folded: Folded, identity: str) -> ProposalOutcome | None:
    made = folded.proposals.get(identity)
    return None if made is None else made.outcome


def _orders_differ(difference: Difference) -> bool:
    """Whether the account's holdings or reservations differ from here on."""
    return any(each is not None and each.acts for each in (difference.was, difference.now))
