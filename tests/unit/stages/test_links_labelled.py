"""Ticker linking against texts labelled by hand: precision and recall over (text, symbol) pairs.

Each line of ``tests/data/links.jsonl`` is a text with the symbols that it is about, and for each the ways in
which it is named there. The labels say what a reader would say, whether or not the rule can find it: "nvidia"
in lower case is NVDA, and "GM everyone" is no car maker. Change a label only where a reader would.
"""

import json
from typing import Any, NamedTuple

import pytest

from tapedeck.streams.config.groups import DEFAULT_SYMBOLS
from tapedeck.streams.config.text_groups import Link
from tapedeck.streams.stages.links.assets import default_assets
from tapedeck.streams.stages.links.matches import Kind
from tapedeck.streams.stages.links.rule import link
from tests.support.cases import REPOSITORY

MIN_PRECISION, MIN_RECALL = 0.90, 0.75
FORMS = ("HEADLINE", "POST")
ASSETS = default_assets(DEFAULT_SYMBOLS)
ITEMS: list[dict[str, Any]] = [
    json.loads(line) for line in (REPOSITORY / "tests/data/links.jsonl").read_text().splitlines()
]


class Score(NamedTuple):
    """Pairs that are right, linked, and labelled."""

    right: int
    linked: int
    labelled: int

    @property
    def precision(self) -> float:
        return self.right / self.linked if self.linked else 1.0

    @property
    def recall(self) -> float:
        return self.right / self.labelled if self.labelled else 1.0

    def __str__(self) -> str:
        of = f"{self.right} of {self.linked} linked, of {self.labelled} labelled"
        return f"precision {self.precision:.3f}  recall {self.recall:.3f}  ({of})"


def linked_kinds(item: dict[str, Any]) -> dict[str, tuple[Kind, ...]]:
    found = link(item["text"], provider=item.get("provider"), assets=ASSETS, config=Link())
    return {each.symbol: each.kinds for each in found.links}


def scored(items: list[dict[str, Any]], kind: str | None = None) -> Score:
    """Over all pairs, or those that are linked and those that are labelled by ``kind``."""
    right = linked = labelled = 0
    for item in items:
        got, wanted = linked_kinds(item), item["symbols"]
        pairs = {symbol for symbol, kinds in got.items() if kind is None or kind in kinds}
        of_kind = {symbol for symbol, kinds in wanted.items() if kind is None or kind in kinds}
        right += len(pairs & set(wanted if kind is None else of_kind))
        linked, labelled = linked + len(pairs), labelled + len(of_kind)
    return Score(right, linked, labelled)


def test_the_set_is_what_it_is_said_to_be() -> None:
    assert len(ITEMS) >= 250 and sum(not item["symbols"] for item in ITEMS) >= 60
    assert {symbol for item in ITEMS for symbol in item["symbols"]} >= set(DEFAULT_SYMBOLS)
    assert len({(item["text"], tuple(item.get("provider", ()))) for item in ITEMS}) == len(ITEMS)
    for item in ITEMS:
        assert item["form"] in FORMS and set(item["symbols"]) <= ASSETS, item
        assert all(kinds and kinds == sorted(set(kinds)) for kinds in item["symbols"].values()), item
        assert {kind for kinds in item["symbols"].values() for kind in kinds} <= set(Kind), item
        tagged = {symbol for symbol, kinds in item["symbols"].items() if "PROVIDER" in kinds}
        assert tagged <= set(item.get("provider", ())), item


def test_precision_and_recall_hold_over_all_texts(capsys: pytest.CaptureFixture[str]) -> None:
    whole = scored(ITEMS)
    parts = {form: scored([item for item in ITEMS if item["form"] == form]) for form in FORMS}
    parts |= {kind: scored(ITEMS, kind) for kind in Kind}
    with capsys.disabled():
        print(f"\nlinks over {len(ITEMS)} labelled texts: {whole}")
        for name, score in parts.items():
            print(f"  {name:<9} {score}")
    assert whole.precision >= MIN_PRECISION and whole.recall >= MIN_RECALL


def test_a_wrong_and_a_missing_link_lower_the_figures() -> None:
    wrong = {"form": "POST", "text": "$NVDA", "symbols": {}}
    missed = {"form": "POST", "text": "nvidia", "symbols": {"NVDA": ["ALIAS"]}}
    assert scored([wrong, missed]) == (0, 1, 1)
    assert scored([wrong, missed], "CASHTAG") == (0, 1, 0)
    assert scored([wrong, missed], "ALIAS") == (0, 0, 1)
