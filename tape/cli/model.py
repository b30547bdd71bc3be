"""``tape model``: the models of the sentiment engines."""

import os
from pathlib import Path
from typing import Annotated

import typer

from tapedeck.connectors.sentiment.training import data

app = typer.Typer(no_args_is_help=True, add_completion=False)


@app.callback()
def model() -> None:
    """The models of the sentiment engines."""


@app.command()
def export(
    folder: Annotated[str, typer.Argument(help="The model's folder, or its name on the hub.")],
    *,
    out: Annotated[Path, typer.Option(help="The new folder, for sentiment.engine = onnx.")],
    int8: Annotated[bool, typer.Option("--int8", help="Weights in 8 bits, if the labels stay.")] = False,
) -> None:
    """Export a FinBERT model for ONNX Runtime, and measure it on the labelled texts of TAPE_SHARED_DATA."""
    from tapedeck.connectors.sentiment.export import export as write  # noqa: PLC0415 - it loads for long

    labelled = data.read(Path(os.environ.get("TAPE_SHARED_DATA", ".")) / data.NAME)
    write(folder, out, labelled, int8=int8, say=print)
