"""Which worker processes a local stack runs: data, in the order in which they start."""

import os
import sys
from collections.abc import Iterable

from tapedeck.connectors.kafka.acls import SCORER
from tapedeck.connectors.scoring.order import INPUTS
from tapedeck.streams.config.document import Config
from tapedeck.streams.topology import Topology
from tapedeck.tape.local.supervisor import Worker

_BARS = "bars"
_SHARED = "decide"
_ASIDE = "news"
_TAPE = (sys.executable, "-m", "tapedeck")


def workers(topology: Topology, config: Config, *, runs: bool = False) -> tuple[Worker, ...]:
    """The processes for ``config``: exchange, stages, scorer, a dispatcher per account, sink.

    ``runs``: the exchange's time runs by itself, without a player.
    Of the stages that follow from bars, those that read them have a process each, and the others share one.
    All that follow from other sources, such as news, share one more. What links texts needs a scorer.
    """
    of_bars = [spec for spec in topology.market if topology.root(spec) == _BARS]
    first = [spec.name for spec in of_bars if spec.trigger == _BARS]
    others = [spec.name for spec in of_bars if spec.name not in first]
    aside = [spec.name for spec in topology.market if spec not in of_bars]
    trading, runs_itself = paper_credentials(config), ["--run"] if runs else []
    dispatchers = tuple(
        Worker(
            name=f"dispatch-{account.account_id}",
            argv=(*_TAPE, "dispatch", account.account_id),
            env=trading,
            says_ready=True,
        )
        for account in config.accounts
    )
    return (
        Worker(name="exchange", argv=(*_TAPE, "exchange", *runs_itself), env=trading, says_ready=True),
        *(_worker(name, name) for name in first),
        *([_worker(_SHARED, *others)] if others else []),
        *([_worker(_ASIDE, *aside)] if aside else []),
        *([_scorer()] if any(topology.writer(name) for name in INPUTS) else []),
        *dispatchers,
        Worker(name="sink", argv=(*_TAPE, "sink", "--no-migrate"), says_ready=True),
    )


def apart(found: Iterable[Worker]) -> tuple[Worker, ...]:
    """The same with one stage per process: each stage has its own login, and a process has only one."""
    return tuple(
        each
        for worker in found
        for each in ([_worker(stage, stage) for stage in worker.stages] if worker.stages else [worker])
    )


def _scorer() -> Worker:
    return Worker(name=SCORER, argv=(*_TAPE, "scorer"), says_ready=True)


def _worker(name: str, *stages: str) -> Worker:
    return Worker(name=name, argv=(*_TAPE, "worker", *stages), says_ready=True, stages=stages)


def paper_credentials(config: Config) -> dict[str, str]:
    """Keys for this machine's paper exchange, if an account names variables that are not set."""
    found: dict[str, str] = {}
    for account in config.accounts:
        found[account.key_ref] = f"paper-{account.account_id}"
        found[account.secret_ref] = f"paper-{account.account_id}-secret"
    return {name: value for name, value in found.items() if "/" not in name and name not in os.environ}
