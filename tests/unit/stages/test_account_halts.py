"""D14: a halt of a symbol reaches the account through its inbox; nothing opens in it, and closing goes on."""

from tapedeck.streams.protocol import MINUTE_US
from tapedeck.streams.stages.account.rules.gate_reasons import GateReason
from tapedeck.streams.stages.account.rules.orders import Purpose
from tapedeck.streams.stages.account.state import AccountState, unpack
from tests.support.account import SECOND, Inbox, gates_of
from tests.unit.stages.test_gates import BAR, case, run

DAY_US = 86_400 * SECOND


def verdict(inbox: Inbox) -> tuple[str, str]:
    proposal = inbox.of("proposals")[-1]
    return proposal["verdict"], proposal["primary_reason"]


def halts(inbox: Inbox) -> dict[str, bool]:
    assert inbox.state is not None
    return {symbol: halt.halted for symbol, halt in unpack(inbox.state).halts.items()}


def test_FLD_D14_nothing_opens_in_a_halted_symbol_until_it_resumes() -> None:
    inbox = Inbox().start()
    inbox.halt("NVDA")
    halt = inbox.rows[-1].body["event_id"]
    inbox.pass_time(20).signal("NVDA")
    assert verdict(inbox) == ("REFUSED", "HALTED")
    refused = inbox.of("proposals")[-1]
    assert halt in refused["inputs"], "the record that says why is an input of the refusal"
    assert [name for name, gate in gates_of(refused).items() if not gate["passed"]] == ["trading_hours"]
    assert gates_of(refused)["trading_hours"]["unit"] == "min since the halt"

    inbox.signal("AMD")
    assert verdict(inbox) == ("APPROVED", "OK"), "other symbols trade"
    inbox.halt("NVDA", halted=False)
    inbox.pass_time(60).signal("NVDA")
    assert verdict(inbox) == ("APPROVED", "OK")
    assert halt not in inbox.of("proposals")[-1]["inputs"]


def test_FLD_D14_a_long_in_a_halted_symbol_may_still_be_sold() -> None:
    inbox = Inbox().start()
    inbox.signal(action="BUY_STOCK")
    inbox.fill(inbox.of("orders")[0])
    inbox.halt("NVDA")
    inbox.pass_time(60).signal(action="SELL_STOCK", newest_bar_t=None)
    assert verdict(inbox) == ("APPROVED", "OK")
    assert inbox.of("orders")[-1]["purpose"] == "CLOSE"


def test_FLD_D14_a_halt_whose_end_was_missed_ends_with_a_later_bar() -> None:
    inbox = Inbox().start()
    inbox.halt("NVDA")
    inbox.pass_time(60).signal(newest_bar_t=inbox.now // MINUTE_US * MINUTE_US - MINUTE_US)
    assert verdict(inbox) == ("REFUSED", "HALTED"), "that minute began before the halt"
    inbox.pass_time(180).signal()
    assert verdict(inbox) == ("APPROVED", "OK")


def test_FLD_D14_a_halt_lets_a_close_pass_and_ends_with_a_bar_that_began_after_it() -> None:
    halted = {"halted_since": BAR + 30 * SECOND}
    assert run("trading_hours", case(**halted)).reason is GateReason.HALTED
    assert run("trading_hours", case(**halted, newest_bar_t=None)).reason is GateReason.HALTED
    assert run("trading_hours", case(**halted, purpose=Purpose.CLOSE)).reason is GateReason.OK
    assert run("trading_hours", case(**halted, newest_bar_t=BAR + MINUTE_US)).reason is GateReason.OK


def test_a_halt_that_comes_again_behind_its_resumption_changes_nothing() -> None:
    inbox = Inbox().start()
    began = inbox.now
    inbox.halt("NVDA")
    inbox.pass_time(60).halt("NVDA", halted=False)
    before = inbox.state
    inbox.halt("NVDA", since=began)
    inbox.halt("NVDA", halted=False)
    inbox.halt("NVDA", since=inbox.now)  # of two of one time the resumption counts
    assert inbox.state == before
    assert [drop.reason for drop in inbox.drops] == ["OLD_HALT"] * 3
    assert halts(inbox) == {"NVDA": False}


def test_a_new_session_keeps_the_halts_and_forgets_the_resumptions() -> None:
    inbox = Inbox().start()
    inbox.halt("NVDA")
    inbox.halt("AMD")
    inbox.pass_time(60).halt("AMD", halted=False)
    assert halts(inbox) == {"AMD": False, "NVDA": True}
    inbox.now += DAY_US
    inbox.put("InboxTick")
    assert halts(inbox) == {"NVDA": True}


def test_a_state_without_halts_has_no_place_for_them() -> None:
    inbox = Inbox().start()
    assert inbox.state is not None and b"halts" not in inbox.state
    assert AccountState().halts == {}
