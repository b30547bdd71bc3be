"""``tape score``: the sentiment of one text with what mattered in it, or of a file of texts."""

import json
import sys
from collections.abc import Iterable, Iterator
from contextlib import nullcontext
from itertools import islice
from pathlib import Path
from typing import Annotated, Any

import typer

from tapedeck.connectors.config_file import load
from tapedeck.connectors.sentiment.engines import ENGINES, scorer_of
from tapedeck.connectors.sentiment.scorer import Outcome, Score, Scorer, SentimentReason, outcomes
from tapedeck.schemas.errors import Fatal
from tapedeck.streams.config.document import Config, from_dict
from tapedeck.streams.config.plain import plain
from tapedeck.tape.cli.json_lines import objects, shown

_BATCH = 256
_TOLD = 8
_BAD_LINE = 1


def score(
    text: Annotated[str | None, typer.Argument(help="The text to score.")] = None,
    *,
    file: Annotated[
        str | None, typer.Option("--in", help='JSON lines with {"text": ...}; - reads standard input.')
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Write the scores of --in here.")] = None,
    engine: Annotated[
        str | None, typer.Option(help=f"{' or '.join(ENGINES)}; default: sentiment.engine.")
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(
            envvar="TAPE_SENTIMENT_MODEL", help="Its model's folder or name, for finbert, onnx and hybrid."
        ),
    ] = None,
    config: Annotated[
        Path | None, typer.Option("--config", help="Another configuration document, as TOML.")
    ] = None,
) -> None:
    """Print a text's label, score, probabilities and the tokens that mattered.

    With --in, each line's label, score and probabilities as JSON lines. A bad line prints {"error": ...} in
    its place, and the exit code at the end is 1.
    """
    if (text is None) == (file is None):
        raise Fatal("give either a text or --in", remedy='tape score "Profit rose", or tape score --in FILE')
    if out is not None and file is None:
        raise Fatal("--out needs --in", value=str(out), remedy="the score of one text is printed")
    chosen = _chosen(config, engine)
    scorer = scorer_of(chosen.sentiment, model or chosen.deployment.sentiment_model)
    if text is not None:
        print(_told(text, scorer))
    elif file is not None and _scored_file(file, out, scorer):
        raise typer.Exit(_BAD_LINE)


def _chosen(config: Path | None, engine: str | None) -> Config:
    document = load(config) if config else Config()
    if engine is None:
        return document
    named = document.parameters()["sentiment"] | {"engine": engine}
    place = plain(document.deployment.model_dump())
    return from_dict(document.parameters() | {"sentiment": named, "deployment": place})


def _told(text: str, scorer: Scorer) -> str:
    (outcome,) = outcomes(scorer, [text])
    if (found := outcome.score) is None:
        raise Fatal("the text has no score", value=text[:80], remedy=f"reason {outcome.reason}")
    parts = ", ".join(f"{each.token} {each.weight:+.3f}" for each in scorer.mattered(text, _TOLD))
    return (
        f"{found.label}  score {found.score:+.6f}  confidence {found.confidence:.6f}\n"
        f"p_pos {found.p_pos:.6f}  p_neg {found.p_neg:.6f}  p_neu {found.p_neu:.6f}\n"
        f"tokens that mattered: {parts or 'none'}\n"
        f"engine {found.engine}  model {found.model_id}  digest {found.model_digest}"
    )


def _scored_file(file: str, out: Path | None, scorer: Scorer) -> int:
    """Write the outcome of each line, in batches; the number of bad lines."""
    bad = 0
    with nullcontext(sys.stdout) if out is None else out.open("w", encoding="utf-8") as stream:
        texts = _texts(file)
        while lines := list(islice(texts, _BATCH)):
            for told in _judged(lines, scorer):
                bad += "error" in told
                print(json.dumps(told), file=stream)
    return bad


def _texts(file: str) -> Iterator[str | dict[str, Any]]:
    """Each line's text, or what to print in its place."""
    for line in objects(file):
        if isinstance(line, str):
            yield {"error": line}
        elif isinstance(text := line.get("text"), str):
            yield text
        else:
            yield {"error": f"text is missing or not a text; got {shown(text)}"}


def _judged(lines: Iterable[str | dict[str, Any]], scorer: Scorer) -> Iterator[dict[str, Any]]:
    found = iter(outcomes(scorer, [line for line in lines if isinstance(line, str)]))
    for line in lines:
        yield _line_of(next(found)) if isinstance(line, str) else line


def _line_of(outcome: Outcome) -> dict[str, Any]:
    score: Score | None = outcome.score
    told = {name: getattr(score, name, None) for name in ("label", "score", "p_pos", "p_neg", "p_neu")}
    return told if outcome.reason is SentimentReason.SCORED else told | {"reason": outcome.reason}
