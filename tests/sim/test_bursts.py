"""Twenty signals at once, again and again, while positions are opened and closed: never more than five."""

from tapedeck.connectors.paper.faults import Fault
from tests.support.floor import ACCOUNT, DAY_CALL, Floor, FloorMarket
from tests.support.judge import Watch
from tests.support.paths import CONFIG

SYMBOLS = tuple(f"S{chr(ord('A') + n)}" for n in range(20))
CONTRACTS = {symbol: DAY_CALL.replace("NVDA", symbol) for symbol in SYMBOLS}
MOST = 5


class Wide(FloorMarket):
    """Twenty stocks, each with a contract that the rules choose."""

    def __init__(self) -> None:
        super().__init__()
        for symbol, contract in CONTRACTS.items():
            self.price(symbol, "149.98", "150.02")
            self.price(contract, "1.98", "2.02")

    def symbols(self) -> list[str]:
        return sorted((*super().symbols(), *SYMBOLS))


def burst(floor: Floor) -> list[tuple[str, str]]:
    """A signal of every symbol in the minute that runs, and its end; the proposals of it."""
    told = len(floor.proposals())
    for symbol in SYMBOLS:
        floor.write_signal(symbol)
    floor.minute()
    return floor.proposals()[told:]


def test_bursts_never_pass_the_limit_while_positions_are_opened_closed_and_stuck_in_closing() -> None:
    floor = Floor(market=Wide())
    account = CONFIG.account(ACCOUNT)
    assert account.max_positions == MOST
    watch = Watch(floor.paper, (account,))

    first = burst(floor)
    assert [verdict for verdict, _ in first] == ["APPROVED"] * MOST + ["REFUSED"] * (20 - MOST)
    assert {reason for verdict, reason in first if verdict == "REFUSED"} == {"MAX_POSITIONS"}
    floor.move(60)
    assert len(floor.at_broker()) == MOST

    floor.arm(Fault.NO_FILL, "submit", count=50, seconds=600)  # their exits are due, and nobody buys
    for contract in list(floor.at_broker()):
        floor.market.price(contract, "4.00", "4.04")
    floor.move(60)
    working = [each for each in floor.orders() if each["state"] in ("ACCEPTED", "PARTIAL")]
    assert {each["purpose"] for each in working} == {"CLOSE"}
    second = burst(floor)
    assert len(second) == 20 and {verdict for verdict, _ in second} == {"REFUSED"}
    assert [reason for _, reason in second].count("MAX_POSITIONS") == 20 - MOST, "five were just traded"

    floor.faults.disarm()
    floor.wait_for(lambda: not floor.at_broker(), 900)
    for contract in CONTRACTS.values():
        floor.market.price(contract, "1.98", "2.02")
    third = burst(floor)
    assert 0 < [verdict for verdict, _ in third].count("APPROVED") <= MOST
    floor.move(60)
    assert watch.broken == [] and watch.highest[ACCOUNT, "max_positions"] == MOST
    floor.check(quiet=False)
