"""``whatif`` over recorded runs: what one changed parameter does, what follows from it, and what adds up."""

import random
from decimal import Decimal
from functools import cache
from html.parser import HTMLParser
from typing import Any

import pytest

from schemas.codec import decode, encode
from schemas.errors import ConfigInvalid, Fatal
from streams.blocks import MemorySource
from streams.config.document import Config
from streams.config.examples import example_account
from streams.contract import MINUTE_US, Message
from streams.sessions import xnys
from streams.sim.log import MemoryLog
from tape.whatif.account_diff import AccountDiff
from tape.whatif.accounts import AccountFold, recorded_rows, refold
from tape.whatif.causes import causes_of
from tape.whatif.changes import Between, changes_between
from tape.whatif.diff import Diff, Difference, Part, Standing
from tape.whatif.inbox import Corrected, inbox_of, payload_of, records_of
from tape.whatif.outcomes import DecisionOutcome, Kind, ProposalOutcome
from tape.whatif.report import as_html
from tape.whatif.run import whatif_from
from tape.whatif.text import as_text
from tests.sim.paths import CONFIG, bodies, copied, morning, whole_day
from tests.sim.tapes import run_clean
from topics.catalogue import CATALOGUE, Layout

SOURCES = ("bars", "quotes", "universe")


def recorded(log: MemoryLog) -> list[Message]:
    return [m for each in CATALOGUE if each.schema for m in log.messages(each.name)]


@cache
def day() -> MemorySource:
    return MemorySource(Layout(), recorded(whole_day().log))


@cache
def hours() -> MemorySource:
    return MemorySource(Layout(), recorded(morning().log))


def changed(account: str = "", **groups: dict[str, Any]) -> Config:
    """The run's configuration with some parameters of some groups, or of one account, changed."""
    document = CONFIG.model_dump(mode="python")
    for group, content in groups.items():
        if group == "limits":
            accounts = [a | content if a["account_id"] == account else a for a in document["accounts"]]
            document["accounts"] = tuple(accounts)
        else:
            document[group] = document[group] | content
    return Config.model_validate(document)


def diff_of(source: MemorySource, config: Config, **options: Any) -> Diff:
    return whatif_from(source, CONFIG, config, **options)


def names(differences: list[Difference]) -> set[str]:
    return {name for each in differences for name in each.parameters}


def decided(log: MemoryLog) -> dict[tuple[str, int], DecisionOutcome]:
    fields = ("action", "strategy", "reason", "confidence", "direction")
    rows = bodies(log, "decisions")
    return {(b["symbol"], b["bar_t"]): DecisionOutcome(*(b[name] for name in fields)) for b in reversed(rows)}


def test_an_unchanged_configuration_decides_everything_again_and_finds_no_difference() -> None:
    found = diff_of(day(), CONFIG)
    assert found.changes == () and found.differences == () and found.unpriced == ()
    assert found.compared[Part.DECISION] > 20_000 and found.compared[Part.PROPOSAL] == 14
    text = as_text(found, rows=5)
    assert "NO DIFFERENCE" in text and "no parameter is another" in text


MARKET = {
    "a signal's threshold": {"signal": {"swing_min": 0.3}},
    "a cooldown": {"signal": {"cooldown_min": 1}},
    "the watchlist's entry": {"watchlist": {"enter": 0.4}},
    "the watchlist's cap": {"watchlist": {"cap": 1}},
    "a feature's window": {"feature": {"sma_short": 10}},
    "the roll-back": {"bars": {"rollback_min": 1}},
    "the gap fade": {"gap_fade": {"enabled": True}},
}


@pytest.mark.parametrize("case", MARKET)
def test_one_market_parameter_gives_only_differences_that_name_it_and_their_consequences(case: str) -> None:
    config = changed(**MARKET[case])
    (parameter,) = (change.path for change in changes_between(CONFIG, config))
    source = hours() if case == "a cooldown" else day()
    found = diff_of(source, config)
    assert found.of(Part.DECISION, Standing.DIRECT), "the change did something"
    assert names(list(found.differences)) == {parameter}
    assert {each.causes for each in found.differences if each.standing is Standing.DIRECT} == {(parameter,)}
    assert not any(each.standing is Standing.UNEXPLAINED for each in found.differences)


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
        assert {name for name, _ in gates} == {gate}
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


def test_an_order_that_is_not_sent_leaves_no_position_and_no_difference_with_the_broker() -> None:
    """Its replies and fills are on the tape, and the broker's readings show its position."""
    config = changed("large", limits={"allowed_actions": ("BUY_PUT", "BUY_STOCK", "SELL_STOCK")})
    rows = inbox_of(day(), "large")
    base, again = (AccountFold(each, "large", xnys()) for each in (CONFIG, config))
    sent = refold(base, rows, recorded_rows)
    seen: list[set[str]] = []

    def correct(row: Any, state: Any) -> Any:
        seen.append(set(state.books))
        return corrected.row(row, state)

    corrected = Corrected(frozenset(sent.orders.values()), {})
    found = refold(again, rows, correct)
    gone = set(sent.orders) - set(found.orders)
    assert len(gone) == 1
    options = {sent.proposals[identity]["instrument"] for identity in gone}
    assert not options & set().union(*seen)
    plain = refold(again, rows, recorded_rows)  # the recorded replies as they are: a position nobody ordered
    reasons = [{gate["reason"] for gate in body["gates"]} for body in plain.proposals.values()]
    assert plain.proposals != found.proposals and reasons
    assert not any("NEEDS_RECONCILE" in {g["reason"] for g in b["gates"]} for b in found.proposals.values())


def test_the_brokers_readings_are_corrected_by_fills_that_did_not_happen() -> None:
    rows = inbox_of(day(), "large")
    sent = refold(AccountFold(CONFIG, "large", xnys()), rows, recorded_rows)
    corrected = Corrected(frozenset(sent.orders.values()), {})
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


def test_an_added_signal_starts_a_cooldown_and_what_that_holds_back_is_its_consequence() -> None:
    found = diff_of(day(), changed(signal={"swing_min": 0.3}))
    after = [each for each in found.of(Part.DECISION, Standing.CONSEQUENCE)]
    assert after
    for each in after:
        assert isinstance(each.now, DecisionOutcome) and each.now.reason == "COOLDOWN"
        follows = each.follows
        assert follows is not None and follows.kind is Kind.ADDED and follows.symbol == each.symbol
        assert 0 < each.at - follows.at < 15 * MINUTE_US
    lost = [each for each in after if each.kind is Kind.REMOVED]
    assert lost, "a recorded signal fell into the cooldown of an added one"
    proposals = found.of(Part.PROPOSAL)
    assert {each.follows for each in proposals} == set(lost), "its proposals go with it"
    assert {each.now for each in proposals} == {None}


def test_a_longer_cooldown_beside_a_lower_threshold_is_named_where_it_is_needed() -> None:
    found = diff_of(day(), changed(signal={"swing_min": 0.3, "cooldown_min": 60}))
    later = []
    for each in found.of(Part.DECISION, Standing.CONSEQUENCE):
        assert each.follows is not None
        needed = each.at - each.follows.at >= 15 * MINUTE_US
        assert ("signal.cooldown_min" in each.parameters) == needed
        later.append(needed)
    assert any(later) and not all(later)
    assert {each.causes for each in found.of(Part.DECISION, Standing.DIRECT)} == {("signal.swing_min",)}


def test_a_difference_that_takes_two_parameters_names_both_and_one_that_takes_either_names_each() -> None:
    found = diff_of(day(), changed(signal={"day_min": 0.36, "day_min_volume": 1.5, "max_bar_age_s": 61}))
    causes = {each.causes for each in found.of(Part.DECISION, Standing.DIRECT)}
    assert ("signal.day_min + signal.day_min_volume",) in causes
    assert not any("max_bar_age_s" in name for each in causes for name in each)

    outcomes = {frozenset(): 0, frozenset("a"): 1, frozenset("b"): 1, frozenset("ab"): 1}
    assert causes_of("ab", 1, outcomes.__getitem__) == ("a", "b")
    assert causes_of("ab", 2, outcomes.__getitem__) == ()
    assert causes_of("ab", 0, lambda units: 0) == (), "what the recording itself gives has no cause"


def test_parameters_that_are_valid_only_together_are_one() -> None:
    config = changed(watchlist={"weight_setup": 0.30, "weight_vol": 0.15, "enter": 0.5})
    assert list(Between(CONFIG, config).units) == [
        "watchlist.enter",
        "watchlist.weight_setup + watchlist.weight_vol",
    ]
    steps = changed(signal={"volume_steps": (0.5, 1.0), "volume_factors": (0.3, 1.0)})
    assert list(Between(CONFIG, steps).units) == ["signal.volume_steps + signal.volume_factors"]


POOL: tuple[tuple[str, str, tuple[Any, ...]], ...] = (
    ("signal", "swing_min", (0.3, 0.4, 0.6)),
    ("signal", "stock_min", (0.1, 0.2, 0.9)),
    ("signal", "cooldown_min", (1, 5, 90)),
    ("signal", "at_band", (0.001, 0.01)),
    ("signal", "max_vol_ratio", (0.9, 2.0)),
    ("gap_fade", "enabled", (True,)),
    ("watchlist", "enter", (0.35, 0.45)),
    ("watchlist", "backfill_to", (1, 3)),
    ("watchlist", "retention_min", (5, 90)),
    ("watchlist", "period_s", (60, 600)),
    ("feature", "sma_short", (5, 12)),
    ("feature", "volume_window", (5, 40)),
    ("feature", "ready_bars", (20, 100)),
    ("bars", "rollback_min", (1, 4)),
)


@pytest.mark.parametrize("seed", range(8))
def test_the_recorded_decisions_and_the_diff_are_what_a_run_under_the_change_decides(seed: int) -> None:
    """The oracle is the sim driver over the same bars: it knows nothing of what was recorded."""
    rng = random.Random(seed)
    groups: dict[str, dict[str, Any]] = {}
    for group, name, values in rng.sample(POOL, rng.randint(1, 3)):
        groups.setdefault(group, {})[name] = rng.choice(values)
    config = changed(**groups)
    found = diff_of(hours(), config)
    before = decided(morning().log)
    log = copied(morning().log, *SOURCES)
    run_clean(log, config)
    after = decided(log)
    applied: dict[tuple[str, int], Any] = dict(before)
    for each in found.of(Part.DECISION):
        key = each.symbol, each.at - MINUTE_US
        assert applied.pop(key, None) == each.was != each.now
        if each.now is not None:
            applied[key] = each.now
    assert applied == after, f"seed {seed}: {groups}"
    assert not [each for each in found.differences if each.standing is Standing.UNEXPLAINED], groups
    assert {part for name in names(list(found.differences)) for part in name.split(" + ")} <= {
        f"{group}.{name}" for group, content in groups.items() for name in content
    }


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
    assert len(found.differences) == 7
    assert any("accounts.fresh has no inbox" in note for note in found.notes)


def test_a_window_shows_only_what_closed_in_it_and_a_consequence_names_a_cause_before_it() -> None:
    config = changed(signal={"swing_min": 0.3})
    whole = diff_of(day(), config)
    held = next(each for each in whole.differences if each.kind is Kind.REMOVED)
    since, until = held.at, held.at + MINUTE_US
    found = diff_of(day(), config, since=since, until=until)
    assert all(since <= each.at < until for each in found.differences)
    mine = next(
        each for each in found.differences if each.part is Part.DECISION and each.symbol == held.symbol
    )
    assert mine == held and mine.follows is not None and mine.follows.at < since
    assert mine.parameters == ("signal.swing_min",)
    assert found.compared[Part.DECISION] == 28


def test_a_recording_that_is_written_while_it_is_read_is_compared_up_to_its_last_whole_minute() -> None:
    """The bars are ahead of the decisions, and one symbol of the newest minute is not decided yet."""
    messages = recorded(whole_day().log)
    ends = {m.partition: m.offset for m in messages if m.topic == "decisions"}

    def is_written(message: Message) -> bool:
        behind = 40 + 11 * message.partition
        return message.topic != "decisions" or message.offset < ends[message.partition] - behind

    source = MemorySource(Layout(), filter(is_written, messages))
    found = diff_of(source, CONFIG)
    assert found.differences == () and found.until < diff_of(day(), CONFIG).until


def other_run(before: int, digest: str = "0123456789abcdef") -> MemorySource:
    """The day with the decisions up to ``before`` made under another configuration."""

    def maybe(message: Message) -> Message:
        if message.topic != "decisions" or message.value is None:
            return message
        body = decode("decisions", message.value)
        if body["event_time"] >= before:
            return message
        return message._replace(value=encode("decisions", body | {"config_digest": digest}))

    return MemorySource(Layout(), map(maybe, recorded(whole_day().log)))


def test_a_recording_of_another_configuration_is_refused_with_both_digests() -> None:
    noon = diff_of(day(), CONFIG).until - 240 * MINUTE_US
    source = other_run(noon)
    with pytest.raises(ConfigInvalid, match=r"0123456789abcdef.*--base") as caught:
        diff_of(source, CONFIG)
    assert CONFIG.digest in str(caught.value)
    found = diff_of(source, CONFIG, since=noon)
    assert found.differences == () and any("0123456789abcdef" in note for note in found.notes)


def test_windows_that_are_empty_or_not_kept_and_accounts_that_are_not_there_are_refused() -> None:
    whole = diff_of(hours(), CONFIG)
    with pytest.raises(Fatal, match="the window is empty"):
        diff_of(hours(), CONFIG, since=whole.until, until=whole.since)
    with pytest.raises(Fatal, match=r"nothing is kept of the window.*are kept from 2026-02-13"):
        diff_of(hours(), CONFIG, since=whole.until + MINUTE_US)
    with pytest.raises(Fatal, match=r"nothing is kept of the window.*are kept from 2026-02-13"):
        diff_of(hours(), CONFIG, until=whole.since - MINUTE_US)
    with pytest.raises(Fatal, match="no decision is kept here"):
        diff_of(MemorySource(Layout(), []), CONFIG)
    with pytest.raises(ConfigInvalid, match=r"no such account.*known: large, tiny"):
        diff_of(hours(), CONFIG, account="huge")
    with pytest.raises(ConfigInvalid, match="says whose account it is"):
        diff_of(hours(), changed("tiny", limits={"broker_account_id": "PAPER-OTHER"}))


def test_a_window_that_begins_before_what_is_kept_says_what_is_kept() -> None:
    whole = diff_of(hours(), CONFIG)
    kept_from = (whole.until - 60 * MINUTE_US) // 1000
    cut = [m for m in recorded(morning().log) if m.topic != "decisions" or m.timestamp >= kept_from]
    source = MemorySource(Layout(), cut)
    with pytest.raises(Fatal, match=r"begins before what is kept.*are kept from"):
        diff_of(source, CONFIG, since=whole.since)
    found = diff_of(source, CONFIG)
    assert any("decisions is no longer kept" in note for note in found.notes)


def test_a_recording_that_was_tampered_with_is_unexplained_and_not_blamed_on_a_parameter() -> None:
    target = next(b for b in bodies(morning().log, "decisions") if b["reason"] == "NOT_ON_WATCHLIST")

    def maybe(message: Message) -> Message:
        if message.topic != "decisions" or message.value is None:
            return message
        body = decode("decisions", message.value)
        if body["event_id"] != target["event_id"]:
            return message
        return message._replace(value=encode("decisions", body | {"reason": "STRETCHED"}))

    source = MemorySource(Layout(), map(maybe, recorded(morning().log)))
    for config in (CONFIG, changed(gap_fade={"enabled": True})):
        odd = [d for d in diff_of(source, config).differences if d.standing is Standing.UNEXPLAINED]
        assert [(each.symbol, each.parameters) for each in odd] == [(target["symbol"], ())]
    assert "1 UNEXPLAINED" in as_text(diff_of(source, CONFIG), rows=5)


def test_proposals_that_do_not_come_out_again_are_counted() -> None:
    rows, proposals = inbox_of(day(), "tiny"), records_of(day(), "proposals", "tiny")
    proposals[0] = proposals[0] | {"verdict": "APPROVED"}
    between = Between(CONFIG, changed("tiny", limits={"max_daily_loss": Decimal(1000)}))
    found = AccountDiff("tiny", between, xnys(), rows=rows, proposals=proposals, signals={})
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
    heads, changes, parts = 5, len(found.changes), len(Part)
    assert page.rows == heads + changes + parts + len(found.differences) + len(found.unpriced)
    assert text.count("<svg") == 3 and "prefers-color-scheme: dark" in text
    assert "accounts.tiny.max_daily_loss" in text and config.digest in text
    empty = as_html(diff_of(hours(), CONFIG), made_us=0)
    assert "NO DIFFERENCE" in empty and "<svg" not in empty


def test_the_text_and_the_json_hold_the_same_differences() -> None:
    found = diff_of(day(), changed("tiny", limits={"max_daily_loss": Decimal(1000)}))
    text = as_text(found, rows=1)
    assert "Caused by accounts.tiny.max_daily_loss" in text and "Consequences" in text
    assert "and 3 more" in text and "1 differences with 4 consequences" in text
    whole = found.as_dict()
    assert [each["standing"] for each in whole["differences"]].count("CONSEQUENCE") == 4
    first = next(each for each in whole["differences"] if each["standing"] == "DIRECT")
    assert (first["symbol"], first["kind"], first["now"]["verdict"]) == ("PG", "ADDED", "APPROVED")
