"""Accounts that decide and never send: the configuration of a replay, and the proof that nothing was sent."""

from collections.abc import Iterable

import requests

from tapedeck.schemas.codec import Body
from tapedeck.schemas.errors import Fatal
from tapedeck.streams.config.accounts import EMBEDDED, Mode
from tapedeck.streams.config.document import Config
from tapedeck.streams.stages.account.rules.orders import OrderState

_QUIET = {str(OrderState.INTENT), str(OrderState.NOT_SENT)}
_SENDING = ("submit", "cancel")
_ANSWER_S = 10.0


def shadowed(config: Config) -> Config:
    """``config`` with every account in shadow mode, at the replay's own paper exchange."""
    quiet = {"mode": Mode.SHADOW, "base_url": EMBEDDED}
    accounts = tuple(account.model_copy(update=quiet) for account in config.accounts)
    return config.model_copy(update={"accounts": accounts})


def demand_nothing_sent(orders: Iterable[Body], executions: int, exchange: str | None) -> None:
    """Raises Fatal if an order was sent, or the exchange was asked to accept or cancel one."""
    for order in orders:
        if order["state"] not in _QUIET:
            raise Fatal(
                f"order {order['client_order_id']} of shadow account {order['account_id']} was sent",
                value=order["state"],
                remedy="this is a bug: keep the prefix and record it with `tape record`",
            )
    asked = _asked(exchange) if exchange else {}
    if executions or asked:
        raise Fatal(
            "the exchange of a replay was asked for more than quotes",
            value=asked or f"{executions} executions",
            remedy="this is a bug: keep the prefix and record it with `tape record`",
        )


def _asked(exchange: str) -> dict[str, int]:
    """How often each operation of the exchange was called."""
    try:
        answer = requests.get(f"{exchange}/_paper/state", timeout=_ANSWER_S)
        answer.raise_for_status()
    except requests.RequestException as error:
        remedy = "see the exchange's log in the replay's folder"
        raise Fatal(f"the paper exchange does not answer: {error}", value=exchange, remedy=remedy) from None
    counted = answer.json()["requests"]
    return {name: counted[name] for name in _SENDING if counted.get(name)}
