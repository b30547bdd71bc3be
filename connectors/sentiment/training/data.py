"""The labelled texts, and the part of them that is never trained on."""

import csv
from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path
from typing import NamedTuple

import numpy as np

from tapedeck.connectors.sentiment.features import Ints
from tapedeck.connectors.sentiment.text import tokens_of
from tapedeck.schemas.errors import Fatal

NAME = "twitter_financial_sentiment/train.csv"
LICENCE = "MIT"
VALIDATION = 0.2
SEED = "tapedeck"
RULE = (
    f"per label, the {VALIDATION:.0%} of texts with the lowest SHA-256 of '{SEED}|' and their tokens;"
    " texts that differ in a link alone stay on one side"
)


class Labelled(NamedTuple):
    """Texts and their labels: 0 negative, 1 positive, 2 neutral."""

    texts: list[str]
    labels: Ints

    def part(self, places: Ints) -> "Labelled":
        """Those at ``places``."""
        return Labelled([self.texts[place] for place in places], self.labels[places])


def read(path: Path) -> Labelled:
    """The data set. Raises Fatal where it is absent or has other columns."""
    try:
        with path.open(encoding="utf-8", newline="") as stream:
            rows = list(csv.DictReader(stream))
        return Labelled([row["text"] for row in rows], np.array([int(row["label"]) for row in rows]))
    except (OSError, KeyError, ValueError) as error:
        raise Fatal(
            f"the labelled texts cannot be read: {error}",
            value=str(path),
            remedy=f"set TAPE_SHARED_DATA to the folder that holds {NAME}, columns text and label",
        ) from None


def split(labelled: Labelled, share: float = VALIDATION) -> tuple[Ints, Ints]:
    """Places to train on and places to validate on, both rising. The order of the rows does not matter."""
    ranks = _ranks(labelled.texts)
    held = [
        place
        for label in range(3)
        for place in _first(np.flatnonzero(labelled.labels == label).tolist(), ranks, share)
    ]
    apart = np.zeros(len(labelled.texts), bool)
    apart[held] = True
    return np.flatnonzero(~apart), np.flatnonzero(apart)


def _ranks(texts: Sequence[str]) -> list[str]:
    return [sha256(f"{SEED}|{' '.join(tokens_of(text).words)}".encode()).hexdigest() for text in texts]


def _first(places: list[int], ranks: list[str], share: float) -> list[int]:
    """The lowest ranks, up to ``share`` of all; texts of one rank are taken together or not at all."""
    ordered = sorted(places, key=lambda place: ranks[place])
    count = round(len(ordered) * share)
    while 0 < count < len(ordered) and ranks[ordered[count - 1]] == ranks[ordered[count]]:
        count -= 1
    return ordered[:count]
