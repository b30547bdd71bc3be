"""The board of the paper exchange prices a contract once for a moment, and gives what the market gives."""

from tapedeck.connectors.paper.market import Board
from tapedeck.connectors.tapes.generator import generate
from tapedeck.connectors.tapes.market import RESTATE_US, Market
from tapedeck.connectors.tapes.trades import last_trade
from tapedeck.streams.protocol import MINUTE_US


class Counted:
    """A market that counts how often one contract is priced alone."""

    def __init__(self, market: Market) -> None:
        self._market, self.asked = market, 0
        self.origin, self.quote_origin = market.origin, market.quote_origin
        self.symbols, self.stock_quote, self.chain = market.symbols, market.stock_quote, market.chain

    def contract(self, symbol, underlying, now):
        self.asked += 1
        return self._market.contract(symbol, underlying, now)


def test_a_contract_is_priced_once_for_a_moment_and_anew_for_the_next():
    tape = generate()
    market, noon = Counted(tape.market), tape.first_live + 60 * MINUTE_US
    board = Board(market)
    symbol = sorted(board.chain("AMD", noon))[40]
    later = noon + RESTATE_US
    quotes = [board.quote(symbol, later + wait) for wait in (0, 1, RESTATE_US - 1)]
    assert market.asked == 1
    assert quotes == [tape.market.contract(symbol, "AMD", later)] * 3
    assert board.quote(symbol, later + RESTATE_US) == tape.market.contract(symbol, "AMD", later + RESTATE_US)
    assert market.asked == 2


def test_a_last_trade_is_the_one_that_the_market_had():
    tape = generate()
    board, noon = Board(tape.market), tape.first_live + 60 * MINUTE_US
    traded = [(each, board.trade(each, noon)) for each in board.chain("AMD", noon).values() if each.volume]
    assert traded
    assert all(trade == last_trade(tape.market, each, noon) for each, trade in traded)
