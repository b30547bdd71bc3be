"""``tape sim``: a tape through the whole path in memory, with digests: no broker, every run identical.

``tape sim short`` runs seeded schedules of the short tape: crashes, redelivery, duplicates, any order.
"""

import json
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import typer

from tapedeck.connectors.config_file import load
from tapedeck.connectors.tapes.market_files.options import Duplicates
from tapedeck.connectors.tapes.source import TapeSource, session_date
from tapedeck.schemas.codec import decode
from tapedeck.streams.config.document import Config
from tapedeck.streams.config.examples import EXAMPLE_ACCOUNTS
from tapedeck.tape.cli.file_options import (
    Columns,
    Quotes,
    Repeated,
    Scale,
    Symbols,
    Zone,
    progress,
    reading_of,
)
from tapedeck.tape.sim.schedules import SHORT, run_seeds
from tapedeck.tape.sim.simulation import Chaos, Simulation
from tapedeck.tape.topology import topology_in_use
from tapedeck.topics.catalogue import CATALOGUE


def sim(
    tape: Annotated[
        str, typer.Argument(help="A file, a folder of files, a recorded folder, synthetic[:SEED], or short.")
    ] = "synthetic",
    *,
    session: Annotated[str | None, typer.Option(help="New York date, YYYY-MM-DD.")] = None,
    quotes: Quotes = None,
    zone: Zone = None,
    columns: Columns = None,
    symbols: Symbols = None,
    scale: Scale = None,
    duplicates: Repeated = Duplicates.REFUSE,
    minutes: Annotated[int | None, typer.Option(min=1, help="Only the first N minutes.")] = None,
    seed: Annotated[
        int, typer.Option(min=0, help="Seed of the paper exchange; of the schedule, for short.")
    ] = 0,
    seeds: Annotated[int, typer.Option(min=1, help="For short: how many schedules, from SEED on.")] = 1,
    workers: Annotated[int, typer.Option(min=1, help="For short: processes that share the seeds.")] = 1,
    chaos: Annotated[
        int | None, typer.Option(min=0, help="Crash at random moments drawn with this seed.")
    ] = None,
    config: Annotated[Path | None, typer.Option(help="Default: the default document, two accounts.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON document.")] = False,
) -> None:
    """Run TAPE through stages, dispatchers and the paper exchange, and print the digest of every topic.

    With short: run seeded schedules of the short tape, and exit with 1 if one gives a different result than a
    run without faults.
    """
    topology = topology_in_use(config)
    if tape == SHORT:
        outcome = run_seeds(topology, range(seed, seed + seeds), workers=workers)
        print(outcome.as_json() if as_json else outcome.as_text())
        raise typer.Exit(1 if outcome.failed else 0)
    document = load(config) if config else Config(accounts=EXAMPLE_ACCOUNTS)
    source = TapeSource(
        tape=tape,
        session=session_date(session),
        quotes=quotes,
        feed=document.bars.feed,
        reading=reading_of(zone, columns, symbols, scale, duplicates),
    )
    loaded = source.load(progress())
    played = replace(loaded, minutes=loaded.minutes[:minutes])
    faults = None if chaos is None else Chaos(chaos)
    run = Simulation(topology, played, document, seed=seed, chaos=faults).play().rest(1)
    topics = {each.name: {"records": len(run.outputs(each.name))} for each in CATALOGUE if each.schema}
    found: dict[str, Any] = {"tape": played.name, "topics": topics}
    found |= {"orders": _orders(run), "digests": run.digests()}
    if faults is not None:
        found["crashes"] = faults.faults.crashes + faults.dispatch.crashes
    print(json.dumps(found, indent=2) if as_json else _text(found, played.notes))


def _orders(run: Simulation) -> list[dict[str, str]]:
    """The newest state of each order."""
    newest = {m.key: decode("orders", m.value) for m in run.log.messages("orders")}
    names = ("account_id", "instrument", "side", "qty", "state")
    return [{name: str(order[name]) for name in names} for _, order in sorted(newest.items())]


def _text(found: dict[str, Any], notes: tuple[str, ...]) -> str:
    lines = [found["tape"], *notes, ""]
    for name, digest in found["digests"].items():
        records = found["topics"].get(name, {}).get("records", "")
        lines.append(f"{name:<20} {records!s:>8}  {digest}")
    lines += ["", *(" ".join(order.values()) for order in found["orders"])]
    if "crashes" in found:
        lines.append(f"{found['crashes']} crashes")
    return "\n".join(lines)
