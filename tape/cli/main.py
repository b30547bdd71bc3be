"""The ``tape`` command. Sub-commands are modules in this folder, imported when they run."""

import os
import sys
from importlib import import_module
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import typer
from typer.core import TyperCommand, TyperGroup

from tapedeck.schemas.errors import TapeError
from tapedeck.tape.lacking import lacking
from tapedeck.tape.local.places import share_kernels
from tapedeck.tape.topology import topology_in_use

USER_ERROR = 2
INTERRUPTED = 130


class Entry(NamedTuple):
    """Where a sub-command is defined (``module:name`` of a function or a ``typer.Typer``) and its help.

    ``wire``: it reads or writes records on a cluster, so a registry's schema ids are asked for first.
    ``bare``: it needs no topology by itself, so that it works where that cannot be imported.
    ``own``: it makes a stack of its own, for which a stack that runs says nothing.
    """

    path: str
    help: str
    wire: bool = False
    bare: bool = False
    own: bool = False


PANELS: dict[str, dict[str, Entry]] = {
    "Begin": {
        "demo": Entry(
            "demo:demo",
            "Play one session through a fresh stack and prove what happened.",
            wire=True,
            own=True,
        ),
        "up": Entry(
            "stack:up", "Start the local stack: Kafka, Postgres, topics and all workers.", wire=True, own=True
        ),
        "down": Entry("stack:down", "Stop the local stack.", bare=True),
    },
    "Run a pipeline (ops)": {
        "init": Entry("init:init", "Create what a pipeline needs before its first process.", wire=True),
        "migrate": Entry("migrate:migrate", "Upgrade the audit tables to the newest revision."),
        "universe": Entry("init:universe", "Write the universe of the configuration.", wire=True),
        "worker": Entry("worker:worker", "Run the agents of some stages in this process.", wire=True),
        "dispatch": Entry("dispatch:dispatch", "Run the dispatcher of one account.", wire=True),
        "ingest": Entry("ingest:app", "Bring live market data in.", wire=True),
        "scorer": Entry("scorer:scorer", "Score the texts that name symbols.", wire=True),
        "sink": Entry("sink:sink", "Copy every audited topic into Postgres.", wire=True),
        "exchange": Entry("exchange:exchange", "Serve the paper exchange over a tape's market."),
        "health": Entry("health:health", "Ask the process here whether it is ready, or lives.", bare=True),
        "status": Entry("status:show", "Show processes, lag, last watermarks and the funnel now.", wire=True),
        "doctor": Entry(
            "doctor:doctor", "Say what is wrong, since when, where, and what mends it.", wire=True
        ),
        "logs": Entry("status:logs", "Print the end of one process's log.", bare=True),
        "leave": Entry("leave:leave", "Take static members that are gone for good out of their group."),
        "topics": Entry("topics:topics", "List the catalogue next to the cluster's topics."),
        "prefix": Entry("prefix:app", "List the pipelines that share a cluster, or drop one."),
        "backup": Entry("backup:backup", "Copy a stopped stack, with checksums, to a new folder.", bare=True),
        "restore": Entry("backup:restore", "Restore the stack of a backup where none exists.", bare=True),
        "config": Entry(
            "config:app", "Show or check a configuration, or say where commands look.", bare=True
        ),
    },
    "Trade (operators)": {
        "accounts": Entry("desk:accounts", "Show the accounts: identity, kill switch, money.", wire=True),
        "orders": Entry("desk:orders", "Show the orders, those that work first.", wire=True),
        "positions": Entry("desk:positions", "Show the positions with their P&L.", wire=True),
        "pause": Entry("controls:pause", "Stop an account, or all, from opening positions.", wire=True),
        "halt": Entry("controls:halt", "Stop an account, or all, and close its positions.", wire=True),
        "release": Entry("controls:release", "Let an account, or all, open positions again.", wire=True),
        "close": Entry("controls:close", "Close one position.", wire=True),
        "reconcile": Entry(
            "desk:reconcile", "Show where an account and its broker differ; settle it.", wire=True
        ),
    },
    "Move and rebuild data (data engineers)": {
        "check": Entry(
            "check:check", "Report what a market file contains and how it plays; or write a clean copy."
        ),
        "fetch": Entry("fetch:fetch", "Fetch minute bars from Alpaca into a tape file.", bare=True),
        "play": Entry("play:play", "Play a tape, or a synthetic session, into the source topics.", wire=True),
        "watermark": Entry(
            "watermark:watermark", "Write watermarks for bars whose producer writes none.", wire=True
        ),
        "tail": Entry("tail:tail", "Print the decoded records of one topic as JSON lines.", wire=True),
        "record": Entry(
            "record:record",
            "Record a window as a regression tape, or check existing tapes.",
            wire=True,
        ),
        "replay": Entry(
            "replay:replay", "Play a recorded window through live agents beside production.", wire=True
        ),
        "rebuild": Entry(
            "rebuild:rebuild",
            "Recompute stages from their topics: digests, --verify, --apply or --into PREFIX.",
            wire=True,
        ),
        "digest": Entry(
            "digest:digest", "Digests of outputs and state, live and, optionally, rebuilt.", wire=True
        ),
        "snapshot": Entry(
            "snapshot:app", "Save, list, show and restore the tables at one moment.", wire=True
        ),
        "topology": Entry("topology:topology", "Print the stages, and what they read and write."),
    },
    "Understand decisions (quants)": {
        "why": Entry("why:why", "Explain why there was no trade in a symbol.", wire=True),
        "explain": Entry(
            "explain:explain", "Explain an order, signal, proposal or any event, and check it.", wire=True
        ),
        "trace": Entry(
            "trace:trace",
            "Show the trace of an order or a minute, or send traces to OpenTelemetry.",
            wire=True,
        ),
        "whatif": Entry(
            "whatif:whatif", "Decide the recorded window again under another configuration.", wire=True
        ),
        "backtest": Entry(
            "backtest:backtest", "Say what the rules would have earned on a tape, session by session."
        ),
        "link": Entry("link:link_text", "Print the symbols that a text is linked to, and why.", bare=True),
        "new": Entry("new:app", "Write the skeleton of a package with a stage of your own."),
        "step": Entry("step:app", "Run one stage over JSON lines, to try a rule on a case."),
        "score": Entry("score:score", "Score the sentiment of a text, or of a file of texts."),
        "model": Entry("model:app", "Export a sentiment model for ONNX Runtime.", bare=True),
        "sim": Entry("sim:sim", "Run a tape through the whole path in memory and print digests."),
    },
}
"""The only table of sub-commands, in the order of the help page."""

ALIASES = {"resume": "release"}
"""Former names: they work, and the help page does not list them."""
COMMANDS = {name: entry for panel in PANELS.values() for name, entry in panel.items()}
_PANEL_OF = {name: title for title, panel in PANELS.items() for name in panel}


def load(name: str) -> Any:
    """The command object of one table entry."""
    module, attribute = COMMANDS[name].path.split(":")
    target = getattr(import_module(f"tapedeck.tape.cli.{module}"), attribute)
    if not isinstance(target, typer.Typer):
        single = typer.Typer(add_completion=False)
        single.command(name)(target)
        target = single
    command = typer.main.get_command(target)
    command.name = name
    return command


def _now_called(name: Any) -> Any:
    return ALIASES.get(name, name)


class LazyGroup(TyperGroup):
    """A group that imports a sub-command's module only when that sub-command is run."""

    def list_commands(self, ctx: Any) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        name = _now_called(cmd_name)
        entry = COMMANDS.get(name)
        return TyperCommand(name, help=entry.help, rich_help_panel=_PANEL_OF[name]) if entry else None

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        name, command, rest = super().resolve_command(ctx, args)
        name = _now_called(name)
        if name not in COMMANDS:
            return name, command, rest
        share_kernels()
        entry = COMMANDS[name]
        if "--help" not in rest:
            _declare(entry, _document_in(rest))
        if entry.wire and "--help" not in rest:
            _use_registry()
            ctx.call_on_close(_tell_foreign)
        return name, load(name), rest


def _declare(entry: Entry, document: Path | None) -> None:
    """Import the topology: what it declares is known to every command."""
    if entry.own:
        import_module("tapedeck.connectors.config_file").topology_of(document)
    elif not entry.bare:
        topology_in_use(document)


def _document_in(args: list[str]) -> Path | None:
    """The document that a command is told by ``--config``, before the command itself reads its options."""
    for place, each in enumerate(args):
        option, equals, value = each.partition("=")
        if option == "--config":
            return Path(value) if equals else next(map(Path, args[place + 1 :]), None)
    return None


def _use_registry() -> None:
    if os.environ.get("SCHEMA_REGISTRY_URL"):
        registry = import_module("tapedeck.connectors.registry")
        registry.use_registry(registry.Registry.described(os.environ), os.environ.get("TAPE_PREFIX", ""))


def _tell_foreign() -> None:
    """Say once, at the end of a command, which records it could not read for their schema ids."""
    codec = sys.modules.get("tapedeck.schemas.codec")
    if codec is not None and (words := codec.foreign_in_words(codec.take_foreign())):
        print(f"tape: {words}", file=sys.stderr)


app = typer.Typer(cls=LazyGroup, no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)


def _print_version(wanted: bool) -> None:
    if wanted:
        print(version("tapedeck"))
        raise typer.Exit


@app.callback()
def tape(
    show_version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Turn a market tape into orders, on Kafka."""


def run() -> None:
    """The entry point. A TapeError becomes one line on standard error and exit code 2."""
    try:
        _run()
    except TapeError as error:
        print(f"tape: {error}", file=sys.stderr)
        sys.exit(USER_ERROR)
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)


def _run() -> None:
    try:
        app()
    except ModuleNotFoundError as error:
        if (lacks := lacking(error)) is None:
            raise
        raise lacks from None
