"""Train the light engine's model on the labelled texts, report on those held back, and write it.

    TAPE_SHARED_DATA=FOLDER python -m tapedeck.connectors.sentiment.training --out FOLDER --test FILE.tsv

The model is fitted to four fifths of the texts and written as it was measured: it never sees the rest.
``--test`` reports on other labelled texts too: label, a tab, text. Without ``--out`` nothing is written.
"""

import argparse
import json
import os
from pathlib import Path

import numpy as np

from tapedeck.connectors.sentiment.features import VERSION
from tapedeck.connectors.sentiment.light import MODEL_ID, Floats, Weights, leaned, logits, softmax
from tapedeck.connectors.sentiment.text import tokens_of
from tapedeck.connectors.sentiment.training import data
from tapedeck.connectors.sentiment.training.data import Labelled
from tapedeck.connectors.sentiment.training.making import SHIPPED, make
from tapedeck.connectors.sentiment.training.report import (
    CLASSES,
    calibration_error,
    f1_of,
    in_words,
    labels_of,
    macro_f1,
    reliability,
)


def shares_of(model: Weights, texts: list[str]) -> Floats:
    """The model's probabilities, text by class, not rounded."""
    return leaned(softmax(logits(model, [tokens_of(text) for text in texts])), float(model.margin))


def told_of(path: Path) -> Labelled:
    """Labelled texts of a file with a label, a tab and a text in each line; more columns are passed over."""
    rows = [line.split("\t") for line in path.read_text(encoding="utf-8").splitlines()]
    return Labelled([row[1] for row in rows], np.array([CLASSES.index(row[0]) for row in rows]))


def card_of(model: Weights, sets: dict[str, Labelled]) -> dict[str, object]:
    """The model's provenance and scores."""
    scores = {}
    for name, labelled in sets.items():
        shares = shares_of(model, labelled.texts)
        told = labels_of(shares)
        scores[name] = {
            "texts": len(labelled.texts),
            "macro_f1": round(macro_f1(labelled.labels, told), 4),
            "f1": {k: round(v, 4) for k, v in zip(CLASSES, f1_of(labelled.labels, told), strict=True)},
            "macro_f1_most_probable": round(macro_f1(labelled.labels, shares.argmax(axis=1)), 4),
            "calibration_error": round(calibration_error(reliability(labelled.labels, shares)), 4),
        }
    return {
        "model_id": MODEL_ID,
        "model_digest": model.digest(),
        "features_version": VERSION,
        "data": data.NAME,
        "licence": data.LICENCE,
        "held_back": data.RULE,
        "recipe": SHIPPED._asdict(),
        "scores": scores,
    }


def main() -> None:
    """Train, print, and write with --out."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--out", type=Path, help="the folder for light.npz and light.json")
    parser.add_argument("--test", type=Path, action="append", default=[], help="other labelled texts")
    told = parser.parse_args()
    labelled = data.read(Path(os.environ.get("TAPE_SHARED_DATA", ".")) / data.NAME)
    trained_on, held_back = (labelled.part(places) for places in data.split(labelled))
    model = make(trained_on)
    sets = {"validation": held_back, **{path.stem: told_of(path) for path in told.test}}
    for name, each in sets.items():
        print(in_words(name, each.labels, shares_of(model, each.texts)))
    card = card_of(model, sets)
    print(f"{MODEL_ID} {card['model_digest']}")
    if told.out:
        np.savez_compressed(told.out / "light.npz", version=np.array(VERSION), **model._asdict())
        (told.out / "light.json").write_text(json.dumps(card, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
