"""``whatif_from``: the recorded window under another configuration, from any source of recorded topics."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

from tapedeck.schemas.columns import NULL
from tapedeck.schemas.errors import ConfigInvalid, Fatal
from tapedeck.schemas.readable import iso_time
from tapedeck.streams.blocks import Source
from tapedeck.streams.config.document import Config
from tapedeck.streams.protocol import MINUTE_US
from tapedeck.streams.sessions import Calendar, xnys
from tapedeck.streams.stages.account.trail import PROPOSALS
from tapedeck.streams.topology import Topology
from tapedeck.tape.explain.lookup import opened
from tapedeck.tape.whatif.account_diff import AccountDiff
from tapedeck.tape.whatif.accounts import Proposal, proposal_of
from tapedeck.tape.whatif.changes import ABSENT, Between, Change, touched_by
from tapedeck.tape.whatif.diff import Diff, Difference, Part, Unpriced
from tapedeck.tape.whatif.inbox import Inbox, records_of
from tapedeck.tape.whatif.market import Market, decider_of
from tapedeck.tape.whatif.market_diff import MarketDiff
from tapedeck.tape.whatif.outcomes import DecisionOutcome
from tapedeck.tape.whatif.overlay import Still
from tapedeck.tape.whatif.quotes import stock_quotes
from tapedeck.tape.whatif.tables import Decisions

_WINDOWS = ("strike_range", "day_dte", "swing_dte", "day_otm")


def whatif_from(
    topology: Topology,
    source: Source,
    base: Config,
    changed: Config,
    *,
    since: int | None = None,
    until: int | None = None,
    account: str | None = None,
    calendar: Calendar | None = None,
) -> Diff:
    """What ``changed`` would have decided about what closed in [``since``, ``until``), UTC microseconds.

    It applies from the log's beginning, so that windows, lists and cooldowns are its own when the window
    begins. ``account``: only this account's proposals. Raises Fatal for an empty window, one that is no
    longer kept, and a recording made under another configuration than ``base``; ConfigInvalid for an account
    that is not configured.
    """
    return _Run(topology, source, base, changed, calendar or xnys()).diff(since, until, account)


class _Run:
    def __init__(
        self, topology: Topology, source: Source, base: Config, changed: Config, calendar: Calendar
    ) -> None:
        decider, decides = decider_of(topology)
        self._topology, self._decided = topology, decides.topic
        self._apart = tuple(name for name in topology.signal_topics if name not in decider.outputs)
        first = (*topology.sources, *topology.account.inputs)
        self._source, self._calendar = Still(source, first), calendar
        self._between = Between(base, changed)
        self._before: list[str] = []

    def diff(self, since: int | None, until: int | None, account: str | None) -> Diff:
        between = self._between
        accounts = self._accounts(account)
        market = Market(self._topology, self._source, between, self._calendar)
        since, until = self._window(market.recorded, since, until)
        proposals = {each: self._proposals(each) for each in accounts}
        self._check_digests(market.recorded, proposals.values(), since, until)
        market.run()
        found = MarketDiff(market, between)
        signals = {(key.symbol, key.t): each for key, each in found.decisions.items() if _signals(each)}
        everything = [*found.places.values(), *found.decisions.values()]
        apart = frozenset(self._signal_ids())
        folded = []
        for each in accounts:
            if not _configured(between.changed, each):
                everything += _gone(each, proposals[each])
                continue
            inbox = Inbox(self._source, each)
            folded.append(AccountDiff(each, between, self._calendar, rows=inbox, proposals=proposals[each],
                                      signals=signals, apart=apart))  # fmt: skip
            everything += folded[-1].differences
        inside = [each for each in everything if since <= each.at < until]
        compared, acted = self._compared(market, proposals.values(), since, until)
        if not inside and not any(compared.values()):
            asked = f"{iso_time(since)} to {iso_time(until)}"
            raise Fatal("nothing was decided in the window, then or now, so there is nothing to compare",
                        value=asked, remedy="name a window with minutes of a session")  # fmt: skip
        unpriced = tuple(self._unpriced(found, folded, since, until))
        return Diff(
            since=since,
            until=until,
            base_digest=between.base.digest,
            changed_digest=between.changed.digest,
            changes=tuple(between.changes),
            compared=compared,
            acted=acted,
            differences=tuple(sorted(inside, key=lambda each: (list(Part).index(each.part), each.at))),
            unpriced=unpriced,
            notes=tuple(self._notes(inside, folded, unpriced)),
        )

    def _signal_ids(self) -> Iterator[str]:
        """The ids of signals that the deciding stage did not write."""
        for part, (start, end) in self._source.ends(self._apart).items():
            for block in self._source.stream(part, start, end):
                found = (opened(message) for message in block.messages())
                yield from (str(each.body["signal_id"]) for each in found if each is not None)

    def _accounts(self, account: str | None) -> list[str]:
        if account is None:
            return [each.account_id for each in self._between.base.accounts]
        return [self._between.base.account(account).account_id]

    def _proposals(self, account: str) -> list[Proposal]:
        return [proposal_of(body) for body in records_of(self._source, PROPOSALS, account)]

    def _window(self, recorded: Decisions, since: int | None, until: int | None) -> tuple[int, int]:
        if since is not None and until is not None and since >= until:
            raise Fatal("the window is empty", value=f"{iso_time(since)} to {iso_time(until)}",
                        remedy="--from must be before --to")  # fmt: skip
        if not recorded.days:
            raise Fatal("no decision is kept here", remedy="play a tape first, or name another --prefix")
        first, last = recorded.first, recorded.last
        if recorded.complete != NULL:  # in a later minute, some symbols are not decided yet
            last = min(last, recorded.complete + MINUTE_US)
        kept = f"decisions are kept from {iso_time(first)} to {iso_time(last)}"
        start = first if since is None else since
        end = last + 1 if until is None else min(until, last + 1)
        if start > last or end <= first:
            asked = f"{iso_time(start)} to {iso_time(until or end)}"
            raise Fatal("no decision of the window is kept", value=asked, remedy=kept)
        if start < first and self._trimmed(self._decided):
            raise Fatal("the window begins before what is kept", value=iso_time(start), remedy=kept)
        return start, end

    def _trimmed(self, name: str) -> bool:
        return any(first > 0 for first, _ in self._source.ends([name]).values())

    def _check_digests(
        self, recorded: Decisions, proposals: Iterable[Sequence[Proposal]], since: int, until: int
    ) -> None:
        digests = recorded.digests(since, until)
        inside = (made for each in proposals for made in each if since <= made.at < until)
        digests |= {made.config_digest for made in inside}
        self._before = sorted(recorded.digests(0, since) - {self._between.base.digest})
        other = sorted(digests - {self._between.base.digest})
        if other:
            raise ConfigInvalid(
                f"the window was decided under the configuration {', '.join(other)}, the document given for "
                f"it has {self._between.base.digest}",
                value=other[0],
                remedy="name the document of the run with --base FILE, or a window of one configuration",
            )

    def _compared(
        self, market: Market, proposals: Iterable[Sequence[Proposal]], since: int, until: int
    ) -> tuple[dict[Part, int], dict[Part, int]]:
        inside = [made for each in proposals for made in each if since <= made.at < until]
        decisions, signals = market.recorded.counts(since, until)
        places, listed = market.recorded_places.counts(since, until)
        approved = sum(made.outcome.acts for made in inside)
        compared = {Part.WATCHLIST: places, Part.DECISION: decisions, Part.PROPOSAL: len(inside)}
        return compared, {Part.WATCHLIST: listed, Part.DECISION: signals, Part.PROPOSAL: approved}

    def _unpriced(
        self, found: MarketDiff, accounts: Sequence[AccountDiff], since: int, until: int
    ) -> Iterable[Unpriced]:
        asked = list(_asked(found, accounts, since, until))
        quotes = stock_quotes(self._source, {(each.symbol, each.at) for each in asked})
        return (replace(each, quote=quotes.get((each.symbol, each.at))) for each in asked)

    def _notes(
        self, differences: Sequence[Difference], accounts: Sequence[AccountDiff], unpriced: Sequence[Unpriced]
    ) -> Iterable[str]:
        proposals = [each for each in differences if each.part is Part.PROPOSAL]
        if any(each.now is not None and each.now.acts for each in proposals):
            yield (
                "An order that the recorded run did not send, or sent smaller, has no answer on the tape: "
                "what is missing of it counts as reserved to the end."
            )
        if any(each.was is not None and each.was.acts for each in proposals):
            yield (
                "Readings of the broker account stay as recorded: equity and buying power include what the "
                "recorded orders did."
            )
        if unpriced:
            yield "Accounts are folded without the signals that cannot be priced."
        yield from _notes_of(self._between.changes)
        for spec in touched_by(self._topology, self._between.changes):
            for name in set(spec.outputs).intersection(self._apart):
                yield f"Signals of {name} stay as recorded: a what-if compares {self._decided}."
        not_again = sum(each.not_again for each in accounts)
        if not_again:
            yield (
                f"{not_again} recorded proposals do not come out again under the recorded configuration: "
                "`tape rebuild account --verify` says where."
            )
        if self._before:
            yield (
                f"Before the window it was decided under {', '.join(self._before)}: the state that it begins "
                "with differs by that, too."
            )
        trimmed = [name for name in (*self._topology.sources, self._decided) if self._trimmed(name)]
        if trimmed:
            yield f"The beginning of {', '.join(trimmed)} is no longer kept: state begins empty there."


def _notes_of(changes: Iterable[Change]) -> Iterable[str]:
    for change in changes:
        group, _, name = change.path.partition(".")
        if group == "universe":
            yield "The universe on the tape decides who may be watched: universe.symbols has no effect on it."
        elif group == "contract" and name in _WINDOWS:
            yield f"{change.path}: the recorded chains hold the recorded window; a wider one finds no more."
        elif group == "order":
            yield f"{change.path}: fills stay as recorded, whatever the limit price."
        elif change.account is not None and change.was == ABSENT:
            yield f"{change.path} has no inbox on the tape: nothing can be said about it."


def _asked(found: MarketDiff, accounts: Sequence[AccountDiff], since: int, until: int) -> Iterable[Unpriced]:
    """The signals of the window that the tape has no answers for, without their quotes."""
    for key, each in found.decisions.items():
        if not since <= each.at < until or not isinstance(each.now, DecisionOutcome) or not each.now.acts:
            continue
        for account in accounts:
            if each.was is None or not each.was.acts or (key.symbol, key.t) in account.unanswered:
                named = account.account_id
                yield Unpriced(account=named, symbol=key.symbol, at=each.at, outcome=each.now, quote=None)


def _configured(config: Config, account_id: str) -> bool:
    return any(each.account_id == account_id for each in config.accounts)


def _gone(account_id: str, proposals: Sequence[Proposal]) -> list[Difference]:
    """The proposals of an account that the changed configuration does not have."""
    return [
        Difference(
            part=Part.PROPOSAL,
            at=made.at,
            symbol=made.symbol,
            subject=made.signal_id,
            account=account_id,
            was=made.outcome,
            now=None,
            causes=(f"accounts.{account_id}",),
        )
        for made in proposals
    ]


def _signals(difference: Difference) -> bool:
    """Whether a signal was changed, added or removed."""
    return any(each is not None and each.acts for each in (difference.was, difference.now))
