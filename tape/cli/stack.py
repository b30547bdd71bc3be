"""``tape up`` and ``tape down``: start and stop the local stack."""

import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tapedeck.schemas.errors import Fatal
from tapedeck.tape.interrupts import ignore_stops, raise_on_stops
from tapedeck.tape.local import state
from tapedeck.tape.local.disk import usage, usage_in_words
from tapedeck.tape.local.places import STATE_FILE, in_words, say, stack_folder
from tapedeck.tape.local.process import Identity, end
from tapedeck.tape.local.process import in_words as exit_in_words
from tapedeck.tape.local.purge import purge as purge_folder
from tapedeck.tape.local.state import Phase, StackState

if TYPE_CHECKING:
    from tapedeck.streams.config.document import Config
    from tapedeck.tape.local.supervisor import Worker

_LOOK_S = 0.25
_DETACHED_S = 600.0
_DOWN_S = 15.0

Name = Annotated[str | None, typer.Option(help="The stack's name: its folder is .tape/NAME.")]


def up(
    *,
    name: Name = None,
    config: Annotated[
        Path | None,
        typer.Option(envvar="TAPE_CONFIG", help="The configuration; default: an example."),
    ] = None,
    prefix: Annotated[str, typer.Option(envvar="TAPE_PREFIX", help="Prefix of all topics.")] = "",
    detach: Annotated[bool, typer.Option("--detach", "-d", help="Return when the stack is ready.")] = False,
    servers_only: Annotated[
        bool, typer.Option("--servers-only", help="No workers: for `tape rebuild --apply` and the like.")
    ] = False,
    live: Annotated[
        bool,
        typer.Option(
            "--live",
            help="Live market data in place of a tape: Alpaca's, or TAPE_DATA_URL=embedded to try it.",
        ),
    ] = False,
    secure: Annotated[
        bool,
        typer.Option(
            "--secure", help="Kafka uses TLS, and each process has a login with rights for its own work only."
        ),
    ] = False,
) -> None:
    """Start Kafka, Postgres, the topics and all workers; Ctrl-C drains them within ten seconds."""
    folder = stack_folder(name)
    if live and servers_only:
        raise Fatal("--servers-only starts no workers, and --live adds one", remedy="leave one of them out")
    if detach:
        flags = {"--servers-only": servers_only, "--live": live, "--secure": secure}
        _up_detached(folder, config, prefix, [flag for flag, given in flags.items() if given])
    else:
        _up_here(folder, config, prefix, servers_only=servers_only, live=live, secure=secure)


def _up_here(
    folder: Path, config: Path | None, prefix: str, *, servers_only: bool, live: bool, secure: bool
) -> None:
    from tapedeck.tape.local.stack import LocalStack  # noqa: PLC0415 - the database tools take a second to import

    raise_on_stops()
    try:
        plan = _nobody if servers_only else None
        with LocalStack(
            folder, config=config, prefix=prefix, workers=plan, secure=secure, live=live
        ) as stack:
            _describe(folder, state.running(folder))
            print("Ctrl-C stops it; `tape status` and `tape logs NAME` show it", flush=True)
            try:
                while True:
                    time.sleep(_LOOK_S)
                    stack.watch()
            except KeyboardInterrupt:
                ignore_stops()
                say("stopping; the workers drain, which takes at most 10 s")
    except KeyboardInterrupt:
        say("interrupted while it was starting")
    say(f"stopped; disk: {usage_in_words(usage(folder))}; `tape down --purge` removes {folder}")


def _nobody(config: "Config") -> "Sequence[Worker]":
    return ()


def _up_detached(folder: Path, config: Path | None, prefix: str, flags: Sequence[str]) -> None:
    """Run ``tape up`` in its own session and show its output until the stack is ready."""
    with state.only_stack(folder):
        pass  # fails for a running stack before its log is touched
    log = folder / "logs" / "up.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    argv = [sys.executable, "-m", "tapedeck", "up", "--prefix", prefix]
    argv += ["--name", folder.name] if folder == stack_folder(folder.name) else []
    argv += ["--config", str(config)] if config else []
    argv += flags
    with log.open("ab") as stream:
        begin = stream.tell()
        process = subprocess.Popen(
            argv, stdin=subprocess.DEVNULL, stdout=stream, stderr=subprocess.STDOUT, start_new_session=True
        )
    until = time.monotonic() + _DETACHED_S
    try:
        with log.open("rb") as said:
            said.seek(begin)
            while not _is_ready(folder, process.pid):
                sys.stderr.write(said.read().decode(errors="replace"))
                if (code := process.poll()) is not None:
                    sys.stderr.write(said.read().decode(errors="replace"))
                    raise Fatal(
                        f"the stack ended with {exit_in_words(code)}", remedy=f"its output is in {log}"
                    )
                if time.monotonic() > until:
                    raise Fatal(f"the stack was not ready within {_DETACHED_S:g} s", remedy=f"see {log}")
                time.sleep(_LOOK_S)
    except BaseException:
        process.terminate()
        raise
    _describe(folder, state.running(folder))


def _is_ready(folder: Path, pid: int) -> bool:
    known = state.read(folder)
    return known is not None and known.phase is Phase.READY and known.supervisor.pid == pid


def _describe(folder: Path, known: StackState) -> None:
    print(f"stack {known.name} is ready in {folder}; disk: {usage_in_words(usage(folder))}")
    secured = f"  secured, logins in {known.secrets}" if known.secrets else ""
    print(f"Kafka     {known.bootstrap}  cluster id {known.cluster_id}{secured}")
    print(f"Postgres  {known.database_url.rpartition('@')[2]}  (whole URL in {folder / STATE_FILE})")
    print(f"config    {known.config}")
    print(f"processes {', '.join(process.name for process in known.processes)}", flush=True)


def down(
    name: Name = None,
    purge: Annotated[bool, typer.Option(help="Remove the stack's folder and all its data as well.")] = False,
) -> None:
    """Stop the stack: workers drain, then the servers stop."""
    folder = stack_folder(name)
    known = state.read(folder)
    if known is None or not known.is_running:
        print(f"no stack runs in {folder}")
    else:
        say(f"stopping process {known.supervisor.pid} and {len(known.processes)} processes under it")
        end(Identity(known.supervisor.pid, known.supervisor.started), signal.SIGTERM, _DOWN_S)
        print(f"stack {known.name} is stopped; disk: {usage_in_words(usage(folder))}")
    if left := state.end_processes(state.read(folder)):
        print(f"ended processes of a dead supervisor: {', '.join(left)}")
    if purge and folder.is_dir():
        print(f"removed {folder} ({in_words(purge_folder(folder))})")
