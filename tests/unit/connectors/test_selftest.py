"""The self-test before a market's first quote: that is early, and no failure yet."""

from typing import NoReturn

import pytest

from tapedeck.connectors.broker import NotFound
from tapedeck.connectors.dispatch.selftest import self_test
from tapedeck.connectors.paper.inprocess import InProcessBroker
from tapedeck.streams.config.examples import example_account
from tapedeck.streams.sessions import xnys
from tests.support.paper import LARGE, TEN, exchange


def test_market_without_a_quote_yet_is_early_and_an_unknown_account_is_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def unknown(*_: object) -> NoReturn:
        raise NotFound("the broker does not know it")

    account = example_account("large", "large")
    broker = InProcessBroker(exchange(), LARGE.number, account.base_url)
    monkeypatch.setattr(broker, "quote", unknown)
    monkeypatch.setattr(broker, "account", unknown)
    checks = self_test(broker, account, xnys(), "NVDA", TEN)
    assert {check.name: check.early for check in checks if not check.passed} == {
        "account": False,
        "quote": True,
        "chain": True,
    }
