"""Which worker processes a local stack runs: data, in the order in which they start."""

import sys

from streams.config.document import Config
from tape.local.supervisor import Worker

EXCHANGE_URL = "TAPE_EXCHANGE_URL"
_TAPE = (sys.executable, "-m", "tape")


def workers(config: Config, exchange_url: str) -> tuple[Worker, ...]:
    """The processes for ``config``: exchange, stages in two processes, a dispatcher per account, sink."""
    to_exchange = {EXCHANGE_URL: exchange_url}
    dispatchers = tuple(
        Worker(
            name=f"dispatch-{account.account_id}",
            argv=(*_TAPE, "dispatch", account.account_id),
            env=to_exchange,
        )
        for account in config.accounts
    )
    return (
        Worker(name="exchange", argv=(*_TAPE, "exchange"), env=to_exchange),
        Worker(name="features", argv=(*_TAPE, "worker", "features")),
        Worker(name="decide", argv=(*_TAPE, "worker", "scores", "watchlist", "signals")),
        *dispatchers,
        Worker(name="sink", argv=(*_TAPE, "sink")),
    )
