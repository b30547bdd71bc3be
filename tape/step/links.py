"""``tape step links``: the symbols that one text a line names."""

from collections.abc import Iterable, Iterator
from typing import Any

from tapedeck.streams.config.document import Config
from tapedeck.streams.stages.links.assets import default_assets
from tapedeck.streams.stages.links.rule import link
from tapedeck.tape.step.common import BadLine, Line, judged

HELP = """Link one text a line to symbols.

A line is an object with these keys:
  text       may be empty
  provider   the symbols that the source put on the text; absent or null where it has none
  assets     the symbols that there are; absent or null: those of universe.symbols and of the companies
             whose names are known, not the broker's whole list
Links come by confidence, highest first, then by symbol.

Example:
  {"text": "Nvidia and $amd lead the rally", "provider": ["NVDA"], "assets": ["AMD", "NVDA"]}
gives
  {"links": [{"symbol": "NVDA", "confidence": 0.95, "kinds": ["ALIAS", "PROVIDER"]},
             {"symbol": "AMD", "confidence": 0.85, "kinds": ["CASHTAG"]}], "list_post": false}"""

_KEYS = ("text", "provider", "assets")


def run(lines: Iterable[Line], config: Config) -> Iterator[dict[str, Any]]:
    """One output line per input line."""
    return judged(lines, lambda line: [_judge(line, config)], _KEYS)


def _judge(line: Line, config: Config) -> dict[str, Any]:
    text = line.get("text")
    if not isinstance(text, str):
        raise BadLine("text is missing or not a text", value=text)
    given = _symbols(line, "assets")
    assets = default_assets(config.universe.symbols) if given is None else frozenset(given)
    found = link(text, provider=_symbols(line, "provider"), assets=assets, config=config.link)
    return {
        "links": [
            {"symbol": each.symbol, "confidence": each.confidence, "kinds": list(each.kinds)}
            for each in found.links
        ],
        "list_post": found.list_post,
    }


def _symbols(line: Line, key: str) -> list[str] | None:
    value = line.get(key)
    if value is not None and not (isinstance(value, list) and all(isinstance(each, str) for each in value)):
        raise BadLine(f"{key} is not a list of symbols", value=value, remedy='write it as ["NVDA", "AMD"]')
    return value
