"""``tape digest``: digests of outputs and state of a running stack, optionally next to a rebuild's."""

import json
from typing import Annotated

import typer

from tapedeck.tape.cli.pipeline import Bootstrap, Prefix, pipeline_of, say_withheld
from tapedeck.tape.topology import topology_in_use

DIFFERENT = 1
_SHOWN = 16
_EQUAL = "EQUAL: a rebuild from the topics gives the same outputs and tables as live"
_NOTHING = (
    "NOT COMPARED: no stage has an input, an output or a table here; play a tape, or name another --prefix"
)


def digest(
    *,
    rebuild: Annotated[
        bool, typer.Option("--rebuild", help="Recompute all stages from the topics, and compare.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document instead.")] = False,
    bootstrap: Bootstrap = "",
    prefix: Prefix = None,
) -> None:
    """Print SHA-256 of every stage's outputs and table.

    Exit code 1 if a rebuild or a repeat differs, or if a rebuild has nothing to compare.
    """
    # Modules that load the kernels are imported when the command runs.
    from tapedeck.streams.sessions import xnys  # noqa: PLC0415 - see above
    from tapedeck.tape.digests import digest_lines, nothing_to_compare  # noqa: PLC0415 - see above
    from tapedeck.tape.recording import everything, read_recording  # noqa: PLC0415 - see above

    topology = topology_in_use()
    pipeline = pipeline_of(bootstrap, prefix)
    config = pipeline.document()
    recording = read_recording(topology, pipeline.cluster)
    say_withheld(pipeline.cluster, everything(topology))
    lines = list(digest_lines(topology, recording, config, xnys(), rebuild=rebuild))
    if as_json:
        print(json.dumps([vars(line) | {"agrees": line.agrees} for line in lines], indent=1))
    else:
        print(f"{'stage':<18}{'of':<18}{'count':>8}  " + ("live              rebuilt" if rebuild else "live"))
        for line in lines:
            shown = f"{line.live[:_SHOWN]}  {(line.rebuilt or '')[:_SHOWN]}" if rebuild else line.live
            print(f"{line.stage:<18}{line.what:<18}{line.records:>8}  {shown}")
    different = [line for line in lines if not line.agrees]
    for line in different:
        why = f"first at {line.differs_at}" if line.differs_at else f"{line.conflicts} ids with two bodies"
        print(f"DIFFERENT {line.stage}: {line.what}, {why}")
    blank = nothing_to_compare(topology, lines, recording) if rebuild else {}
    nothing = blank.keys() == {line.stage for line in lines} and rebuild
    if rebuild and not as_json and not different:
        print(_NOTHING if nothing else _EQUAL)
    for stage, why in blank.items() if not as_json else ():
        print(f"  nothing to compare for {stage}: {why}")
    if different or nothing:
        raise typer.Exit(DIFFERENT)
