"""``tape step STAGE``: one stage over JSON lines, to try a rule on a case."""

import json
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperCommand, TyperGroup

from tapedeck.connectors.config_file import load
from tapedeck.streams.config.document import Config
from tapedeck.tape.cli.json_lines import objects

STAGES = {
    "features": "Fold bars into feature records.",
    "links": "Link texts to symbols.",
    "watchlist": "Compute watch scores with their components.",
    "signals": "Judge bars with the decision rule.",
    "gates": "Evaluate the risk gates on a case.",
    "sizing": "Size an order.",
    "ladder": "Price the steps of an order.",
    "exits": "Judge which rules want a position closed.",
    "stories": "Fold items into stories by their titles.",
    "sentiment_windows": "Compute the sentiment windows of a symbol.",
    "surge": "Judge the mentions of a symbol in an hour.",
}
"""Stage to its help line; its adapter is the module of that name in ``tape.step``."""
_BAD_LINE = 1


class StageGroup(TyperGroup):
    """One sub-command per stage; its adapter is imported only when it is run."""

    def list_commands(self, ctx: Any) -> list[str]:
        return list(STAGES)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        return TyperCommand(cmd_name, help=STAGES[cmd_name]) if cmd_name in STAGES else None

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        name, command, rest = super().resolve_command(ctx, args)
        return name, _command(name) if name in STAGES else command, rest


app = typer.Typer(cls=StageGroup, no_args_is_help=True, add_completion=False, rich_markup_mode=None)


@app.callback()
def step() -> None:
    """Run one stage over JSON lines and print its outputs as JSON lines.

    A bad line prints {"error": ...} in its place, and the exit code at the end is 1.
    `tape step STAGE --help` shows the line format with an example.
    """


def _command(stage: str) -> Any:
    adapter = import_module(f"tapedeck.tape.step.{stage}")

    def run_stage(
        file: Annotated[str, typer.Option("--in", help="JSON lines; - reads standard input.")],
        config: Annotated[
            Path | None, typer.Option("--config", help="Another configuration document, as TOML.")
        ] = None,
    ) -> None:
        errors: list[str] = []
        document = load(config) if config else Config()
        for output in adapter.run(_objects(file, errors), document):
            _print(output, errors)
        if errors:
            raise typer.Exit(_BAD_LINE)

    single = typer.Typer(add_completion=False, rich_markup_mode=None)
    single.command(stage, help=_verbatim(adapter.HELP))(run_stage)
    command = typer.main.get_command(single)
    command.name = stage
    return command


def _verbatim(text: str) -> str:
    """``text`` with click's mark before each paragraph, so that examples keep their lines."""
    return "\n\n".join(f"\b\n{paragraph}" for paragraph in text.split("\n\n"))


def _print(output: dict[str, Any], errors: list[str]) -> None:
    if "error" in output:
        errors.append(output["error"])
    print(json.dumps(output))


def _objects(file: str, errors: list[str]) -> Iterator[dict[str, Any]]:
    """Each line's object. Adapters are lazy, so the error of an unreadable line is printed in its place."""
    for each in objects(file):
        if isinstance(each, str):
            _print({"error": each}, errors)
        else:
            yield each
