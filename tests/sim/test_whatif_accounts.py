"""``whatif`` and accounts: changed limits, orders that were never sent, and how a diff is shown."""

import random
from decimal import Decimal
from html.parser import HTMLParser
from typing import Any

import pytest

from tapedeck.streams.config.document import Config
from tapedeck.streams.config.examples import example_account
from tapedeck.streams.sessions import xnys
from tapedeck.tape.whatif.account_diff import AccountDiff
from tapedeck.tape.whatif.accounts import AccountFold, proposal_of, recorded_rows, refold
from tapedeck.tape.whatif.changes import Between, changes_between
from tapedeck.tape.whatif.diff import Part, Standing
from tapedeck.tape.whatif.inbox import Corrected, Inbox, payload_of, records_of
from tapedeck.tape.whatif.outcomes import Kind, ProposalOutcome
from tapedeck.tape.whatif.report import as_html
from tapedeck.tape.whatif.text import as_text
from tests.support.cases import few
from tests.support.paths import CONFIG
from tests.support.whatifs import changed, day, diff_of, hours, names

ACCOUNT = {
    "daily_loss_limit": ("tiny", {"max_daily_loss": Decimal(1000)}),
    "confidence": ("large", {"confidence_threshold": 0.6}),
    "max_exposure": ("tiny", {"max_exposure": Decimal(9000)}),
    "trading_hours": ("large", {"last_entry_day_min": 300}),
    "action_allowed": ("large", {"allowed_actions": ("BUY_PUT", "BUY_STOCK", "SELL_STOCK")}),
}


@pytest.mark.parametrize("gate", ACCOUNT)
def test_one_changed_limit_lists_only_proposals_whose_gate_it_is_and_their_consequences(gate: str) -> None:
    account, limit = ACCOUNT[gate]
    found = diff_of(day(), changed(account, limits=limit))
    direct = found.of(Part.PROPOSAL, Standing.DIRECT)
    assert direct and {each.part for each in found.differences} == {Part.PROPOSAL}
    assert names(list(found.differences)) == {f"accounts.{account}.{next(iter(limit))}"}
    for each in direct:
        assert isinstance(each.was, ProposalOutcome) and isinstance(each.now, ProposalOutcome)
        gates = set(each.was.refused) ^ set(each.now.refused)
        # a daily loss lets the account only reduce, so the kill switch refuses with it
        also = {"kill_switch"} if gate == "daily_loss_limit" else set()
        assert {gate} <= {name for name, _ in gates} | also and {name for name, _ in gates} <= {gate} | also
    assert {each.account for each in found.differences} == {account}
    assert all(each.root in direct for each in found.differences)


def test_a_smaller_risk_sizes_smaller_and_what_it_does_not_lose_is_open_to_later_signals() -> None:
    found = diff_of(day(), changed("large", limits={"risk_day": Decimal("0.005")}))
    first, *rest = found.of(Part.PROPOSAL, Standing.DIRECT)
    assert isinstance(first.was, ProposalOutcome) and isinstance(first.now, ProposalOutcome)
    assert (first.kind, first.was.quantity, first.now.quantity) == (Kind.CHANGED, 3, 1)
    after = found.of(Part.PROPOSAL, Standing.CONSEQUENCE)
    assert Kind.ADDED in {each.kind for each in after}, "the loss limit is not reached any more"
    assert all(each.follows in (first, *rest, *after) for each in after)
    assert any("counts as reserved" in note for note in found.notes)


LIMITS: tuple[tuple[str, tuple[Any, ...]], ...] = (
    ("max_contracts", (1, 20)),
    ("max_exposure", (Decimal(300), Decimal(99_999))),
    ("max_positions", (1, 9)),
    ("max_daily_loss", (Decimal(5), Decimal(5000))),
    ("risk_day", (Decimal("0.001"), Decimal("0.5"))),
    ("risk_swing", (Decimal("0.001"), Decimal("0.5"))),
    ("confidence_threshold", (0.57, 0.99)),
    ("max_trades_per_ticker_per_day", (1, 9)),
    ("last_entry_swing_min", (60, 300)),
    ("mode", ("SHADOW",)),
)


@pytest.mark.parametrize("seed", few(range(6), 1))
def test_several_limits_at_once_leave_nothing_unexplained_and_blame_nothing_that_is_as_it_was(
    seed: int,
) -> None:
    rng = random.Random(seed)
    account = rng.choice(("large", "tiny"))
    limits = {name: rng.choice(values) for name, values in rng.sample(LIMITS, 3)}
    document = {"sizing": {"equity_s": rng.choice((1, 60, 600))}, "gate": {"quote_s": rng.choice((1, 15))}}
    config = changed(account, limits=limits, **document)
    found = diff_of(day(), config)
    paths = {change.path for change in changes_between(CONFIG, config)}
    assert {part for name in names(list(found.differences)) for part in name.split(" + ")} <= paths
    assert found.of(Part.PROPOSAL) and not found.of(Part.PROPOSAL, Standing.UNEXPLAINED), (account, limits)
    assert all(each.root.standing is Standing.DIRECT for each in found.differences)


def test_an_order_that_is_not_sent_leaves_no_position_and_no_difference_with_the_broker() -> None:
    """Its replies and fills are on the tape, and the broker's readings show its position."""
    config = changed("large", limits={"allowed_actions": ("BUY_PUT", "BUY_STOCK", "SELL_STOCK")})
    rows = list(Inbox(day(), "large"))
    base, again = (AccountFold(each, "large", xnys()) for each in (CONFIG, config))
    sent = refold(base, rows, recorded_rows)
    seen: list[set[str]] = []

    def correct(row: Any, state: Any) -> Any:
        seen.append(set(state.books))
        return corrected.row(row, state)

    corrected = Corrected(frozenset(sent.orders), {})
    found = refold(again, rows, correct)
    gone = set(sent.orders.values()) - set(found.orders.values())
    assert len(gone) == 1
    options = {sent.proposals[identity].outcome.instrument for identity in gone}
    assert not options & set().union(*seen)
    plain = refold(again, rows, recorded_rows)  # the recorded replies as they are: a position nobody ordered
    assert plain.proposals != found.proposals
    assert not any(
        "NEEDS_RECONCILE" in {reason for _, reason in made.outcome.refused}
        for made in found.proposals.values()
    )


def test_the_brokers_readings_are_corrected_by_fills_that_did_not_happen() -> None:
    rows = list(Inbox(day(), "large"))
    sent = refold(AccountFold(CONFIG, "large", xnys()), rows, recorded_rows)
    corrected = Corrected(frozenset(sent.orders), {})
    config = changed("large", limits={"allowed_actions": ("BUY_PUT", "BUY_STOCK", "SELL_STOCK")})
    fold = AccountFold(config, "large", xnys())
    fill = next(row for row in rows if payload_of(row)[0] == "InboxExecution")
    reading = next(row for row in rows if payload_of(row)[0] == "InboxBroker")
    _, fields = payload_of(fill)
    held = {"instrument": fields["instrument"], "qty": fields["qty"]}
    shown = reading._replace(body=reading.body | {"payload": ("InboxBroker", payload_of(reading)[1] | {
        "positions": [held], "open_orders": [fields["client_order_id"]]})})  # fmt: skip
    read: list[Any] = []

    def correct(row: Any, state: Any) -> Any:
        made = corrected.row(row, state)
        if row is fill:
            assert made is None
            read.append(corrected.row(shown, state))
        return made

    refold(fold, rows, correct)
    _, after = payload_of(read[0])
    assert after["positions"] == [held | {"qty": Decimal(0)}] and after["open_orders"] == []


@pytest.mark.long
def test_signals_that_are_added_are_listed_for_every_account_with_the_stocks_quote_and_no_price() -> None:
    found = diff_of(day(), changed(signal={"swing_min": 0.3}))
    added = [each for each in found.of(Part.DECISION) if each.kind is Kind.ADDED]
    assert {(each.symbol, each.at) for each in found.unpriced} == {(each.symbol, each.at) for each in added}
    assert {each.account for each in found.unpriced} == {"large", "tiny"}
    assert all(each.quote and " / " in each.quote for each in found.unpriced)
    only = diff_of(day(), changed(signal={"swing_min": 0.3}), account="tiny")
    assert {each.account for each in only.unpriced} == {"tiny"}


def test_an_account_that_is_left_out_loses_its_proposals_and_one_that_is_added_has_no_inbox() -> None:
    document = CONFIG.model_dump(mode="python")
    large, _ = CONFIG.accounts
    fresh = example_account("fresh", "small")
    config = Config.model_validate(document | {"accounts": (large.model_dump(), fresh.model_dump())})
    found = diff_of(day(), config)
    assert [str(change) for change in found.changes] == [
        "accounts.tiny configured -> not configured",
        "accounts.fresh not configured -> configured",
    ]
    assert {(each.account, each.now, each.causes) for each in found.differences} == {
        ("tiny", None, ("accounts.tiny",))
    }
    assert len(found.differences) == 12
    assert any("accounts.fresh has no inbox" in note for note in found.notes)


def test_proposals_that_do_not_come_out_again_are_counted() -> None:
    proposals = [proposal_of(body) for body in records_of(day(), "proposals", "tiny")]
    first = proposals[0]
    proposals[0] = first._replace(outcome=first.outcome._replace(verdict="APPROVED"))
    between = Between(CONFIG, changed("tiny", limits={"max_daily_loss": Decimal(1000)}))
    found = AccountDiff("tiny", between, xnys(), rows=Inbox(day(), "tiny"), proposals=proposals, signals={})
    assert found.not_again == 1


class Page(HTMLParser):
    """Counts tags, and holds what is fetched from elsewhere."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.rows = 0
        self.fetched: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.fetched += [f"{tag} {name}" for name, _ in attrs if name in ("src", "href", "xlink:href")]
        self.rows += tag == "tr"
        if tag not in ("meta", "input"):
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.fetched += [f"{tag} {name}" for name, _ in attrs if name in ("src", "href", "xlink:href")]

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_the_page_is_whole_by_itself_with_plots_and_every_difference() -> None:
    config = changed("tiny", signal={"swing_min": 0.35}, limits={"max_daily_loss": Decimal(1000)})
    found = diff_of(day(), config)
    text = as_html(found, made_us=found.until)
    page = Page()
    page.feed(text)
    assert page.open == [] and page.fetched == [] and "@import" not in text and "url(" not in text
    heads, changes, parts = text.count("<table"), len(found.changes), len(Part)
    assert page.rows == heads + changes + parts + len(found.differences) + len(found.unpriced)
    assert text.count("<svg") == 3 and "prefers-color-scheme: dark" in text
    assert "accounts.tiny.max_daily_loss" in text and config.digest in text
    empty = as_html(diff_of(hours(), CONFIG), made_us=0)
    assert "NO DIFFERENCE" in empty and "<svg" not in empty


def test_the_text_and_the_json_hold_the_same_differences() -> None:
    found = diff_of(day(), changed("tiny", limits={"max_daily_loss": Decimal(1000)}))
    text = as_text(found, rows=1)
    assert "Caused by accounts.tiny.max_daily_loss" in text and "Consequences" in text
    assert "and 8 more" in text and "1 direct differences and 9 consequences" in text
    whole = found.as_dict()
    assert [each["standing"] for each in whole["differences"]].count("CONSEQUENCE") == 9
    first = next(each for each in whole["differences"] if each["standing"] == "DIRECT")
    assert (first["symbol"], first["kind"], first["now"]["verdict"]) == ("PG", "ADDED", "APPROVED")
