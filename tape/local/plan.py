"""Which worker processes a local stack runs: data, in the order in which they start."""

import os
import sys
from collections.abc import Iterable

from tapedeck.streams.config.document import Config
from tapedeck.streams.topology import Topology
from tapedeck.tape.deployment.processes import Kind, Process, processes
from tapedeck.tape.local.supervisor import Worker

_BARS = "bars"
_SHARED = "decide"
_ASIDE = "news"
_TAPE = (sys.executable, "-m", "tapedeck")
_APART = (Kind.MIGRATE, Kind.INIT, Kind.INGEST, Kind.PLAYER, Kind.DOCTOR)
"""What the stack does itself, what runs with live data only, and what a person starts."""


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
    stages = (
        *(_worker(name, name) for name in first),
        *([_worker(_SHARED, *others)] if others else []),
        *([_worker(_ASIDE, *aside)] if aside else []),
    )
    trading = paper_credentials(config)
    found: list[Worker] = []
    for process in processes(topology, config):
        if process.kind is Kind.STAGE:
            found += stages if stages[0] not in found else ()
        elif process.kind not in _APART:
            found.append(_one(process, trading, runs=runs))
    return tuple(found)


def apart(found: Iterable[Worker]) -> tuple[Worker, ...]:
    """The same with one stage per process: each stage has its own login, and a process has only one."""
    return tuple(
        each
        for worker in found
        for each in ([_worker(stage, stage) for stage in worker.stages] if worker.stages else [worker])
    )


def _one(process: Process, trading: dict[str, str], *, runs: bool) -> Worker:
    runs_itself = ("--run",) if runs and process.kind is Kind.EXCHANGE else ()
    trades = process.kind in (Kind.EXCHANGE, Kind.DISPATCHER)
    return Worker(
        name=process.name,
        argv=(*_TAPE, *process.args, *runs_itself),
        env=trading if trades else {},
        says_ready=True,
    )


def _worker(name: str, *stages: str) -> Worker:
    return Worker(name=name, argv=(*_TAPE, "worker", *stages), says_ready=True, stages=stages)


def paper_credentials(config: Config) -> dict[str, str]:
    """Keys for this machine's paper exchange, if an account names variables that are not set."""
    found: dict[str, str] = {}
    for account in config.accounts:
        found[account.key_ref] = f"paper-{account.account_id}"
        found[account.secret_ref] = f"paper-{account.account_id}-secret"
    return {
        name: value
        for name, value in found.items()
        if "/" not in name and not {name, f"{name}_FILE"} & os.environ.keys()
    }
