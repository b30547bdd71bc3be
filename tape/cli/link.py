"""``tape link``: which symbols a text is linked to, and by which words."""

import json
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from tapedeck.connectors.config_file import load
from tapedeck.connectors.symbol_list import read_symbols
from tapedeck.schemas.errors import Fatal
from tapedeck.streams.config.document import Config
from tapedeck.streams.stages.links.assets import default_assets
from tapedeck.streams.stages.links.rule import Link, Linked, Match, link


def link_text(
    text: Annotated[str, typer.Argument(help="The text; - reads standard input.")],
    *,
    provider: Annotated[
        str | None, typer.Option(help="Symbols that the source put on it, with commas: NVDA,AMD.")
    ] = None,
    assets: Annotated[
        Path | None,
        typer.Option(
            help="The symbols that there are, one a line, comments behind #. Default: those of the universe "
            "and of the companies whose names are known, which is less than the broker's whole list."
        ),
    ] = None,
    config: Annotated[
        Path | None, typer.Option("--config", help="Another configuration document, as TOML.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document instead.")] = False,
) -> None:
    """Print the symbols that TEXT is linked to, each with its confidence and the places that name it.

    Places count the characters of TEXT from 0. What is under the threshold is listed as well.
    """
    document = load(config) if config else Config()
    known = read_symbols(assets) if assets else default_assets(document.universe.symbols)
    read = _standard_input() if text == "-" else text
    tags = None if provider is None else [each for each in provider.split(",") if each.strip()]
    found = link(read, provider=tags, assets=known, config=document.link)
    if as_json:
        print(json.dumps(_as_dict(found, read), indent=1))
    else:
        print(_as_text(found, read, document.link.min_confidence))


def _standard_input() -> str:
    try:
        return sys.stdin.buffer.read().decode("utf-8", errors="replace")
    except UnicodeDecodeError as error:
        raise Fatal(f"standard input is no text: {error}", remedy="give it as UTF-8") from None


def _as_dict(found: Linked, text: str) -> dict[str, Any]:
    def told(each: Link) -> dict[str, Any]:
        matches = [match._asdict() | {"text": _words(match, text)} for match in each.matches]
        return each._asdict() | {"matches": matches}

    return {
        "links": [told(each) for each in found.links],
        "below": [told(each) for each in found.below],
        "list_post": found.list_post,
    }


def _as_text(found: Linked, text: str, threshold: float) -> str:
    lines = [line for each in found.links for line in _lines(each, text)]
    if not found.links:
        lines.append("no symbol")
    if found.list_post:
        lines.append(f"LIST_POST: {len(found.links)} symbols; no sentiment comes of a list")
    if found.below:
        lines += ["", f"under {threshold:.2f}, not linked:"]
        lines += [line for each in found.below for line in _lines(each, text)]
    return "\n".join(lines)


def _lines(each: Link, text: str) -> list[str]:
    head = f"{each.symbol:<6} {each.confidence:.2f}  {'+'.join(each.kinds)}"
    return [head, *(_line(match, text) for match in each.matches)]


def _line(match: Match, text: str) -> str:
    place = "" if match.start is None else f"{match.start}-{match.end}"
    rule = " ".join((match.rule, *match.effects))
    return f"  {match.confidence:.2f}  {place:<9} {rule}  {_words(match, text) or ''}".rstrip()


def _words(match: Match, text: str) -> str | None:
    """The words of the match with one space between them; none for a provider's tag."""
    return None if match.start is None else " ".join(text[match.start : match.end].split())
