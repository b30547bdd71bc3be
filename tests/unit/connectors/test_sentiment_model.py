"""The committed model of the light engine: its scores on texts it never saw, and that training repeats."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from tapedeck.connectors.sentiment import light
from tapedeck.connectors.sentiment.lexicon import Lexicon
from tapedeck.connectors.sentiment.light import Light
from tapedeck.connectors.sentiment.scorer import Label
from tapedeck.connectors.sentiment.text import tokens_of
from tapedeck.connectors.sentiment.training import data
from tapedeck.connectors.sentiment.training.__main__ import shares_of, told_of
from tapedeck.connectors.sentiment.training.data import Labelled
from tapedeck.connectors.sentiment.training.making import SHIPPED, make
from tapedeck.connectors.sentiment.training.report import (
    CLASSES,
    calibration_error,
    confusion,
    f1_of,
    labels_of,
    macro_f1,
    reliability,
)
from tests.support.cases import REPOSITORY, shared

TEXTS = REPOSITORY / "tests" / "data" / "sentiment"
NEWSWIRE, TRAPS = TEXTS / "newswire.tsv", TEXTS / "traps.tsv"
CARD = json.loads(light.FILE.with_suffix(".json").read_text())
NUMBERS = {Label.NEGATIVE: 0, Label.POSITIVE: 1, Label.NEUTRAL: 2}


def by_label(scorer: Light | Lexicon, labelled: Labelled) -> float:
    told = np.array([NUMBERS[each.label] for each in scorer.score(labelled.texts)])
    return macro_f1(labelled.labels, told)


def held_back() -> Labelled:
    labelled = data.read(shared(data.NAME))
    return labelled.part(data.split(labelled)[1])


def test_the_card_names_the_committed_model() -> None:
    model = light.shipped()
    assert CARD["model_digest"] == model.digest() == Light().model.digest
    assert light.FILE.stat().st_size < 5_000_000
    assert CARD["recipe"] == json.loads(json.dumps(SHIPPED._asdict()))


def test_the_model_has_its_stated_scores_on_the_texts_held_back_and_beats_the_lexicon() -> None:
    labelled, told = held_back(), CARD["scores"]["validation"]
    shares = shares_of(light.shipped(), labelled.texts)
    assert macro_f1(labelled.labels, labels_of(shares)) == pytest.approx(told["macro_f1"], abs=0.002)
    assert macro_f1(labelled.labels, labels_of(shares)) >= 0.80
    assert macro_f1(labelled.labels, shares.argmax(axis=1)) >= 0.80
    assert calibration_error(reliability(labelled.labels, shares)) < 0.04
    assert by_label(Light(), labelled) == pytest.approx(told["macro_f1"], abs=0.002)
    assert by_label(Light(), labelled) > by_label(Lexicon(), labelled) + 0.1


def test_the_model_carries_to_newswire_sentences_and_beats_the_lexicon_there() -> None:
    labelled = told_of(NEWSWIRE)
    assert np.bincount(labelled.labels).tolist() == [50, 50, 50]
    assert by_label(Light(), labelled) == pytest.approx(CARD["scores"]["newswire"]["macro_f1"], abs=0.01)
    assert by_label(Light(), labelled) >= 0.62
    assert by_label(Light(), labelled) > by_label(Lexicon(), labelled)


def test_the_forty_traps_are_scored_and_printed() -> None:
    labelled, why = told_of(TRAPS), [line.split("\t")[2] for line in TRAPS.read_text().splitlines()]
    found = {scorer.model.engine: scorer.score(labelled.texts) for scorer in (Light(), Lexicon())}
    print()
    for place, text in enumerate(labelled.texts):
        told = "  ".join(f"{name} {each[place].score:+.2f}" for name, each in found.items())
        print(f"{CLASSES[labelled.labels[place]]:>9}  {told}  {text} ({why[place]})")
    right = np.array([NUMBERS[each.label] for each in found["light"]]) == labelled.labels
    assert len(labelled.texts) == 40
    assert right.sum() >= 20


def test_the_split_does_not_depend_on_the_order_and_keeps_equal_texts_together() -> None:
    labelled = data.read(shared(data.NAME))
    kept, apart = data.split(labelled)
    texts = {labelled.texts[place] for place in apart}
    turned = np.arange(len(labelled.texts))[::-1]
    assert {labelled.texts[turned[place]] for place in data.split(labelled.part(turned))[1]} == texts
    assert len(apart) == pytest.approx(0.2 * len(labelled.texts), abs=5)
    alike = {" ".join(tokens_of(labelled.texts[place]).words) for place in apart}
    trained_on = labelled.part(kept)
    assert not [text for text in trained_on.texts if " ".join(tokens_of(text).words) in alike]


@pytest.mark.long
def test_training_again_gives_the_same_model() -> None:
    labelled = data.read(shared(data.NAME))
    few = labelled.part(np.arange(0, len(labelled.texts), 60))
    recipe = SHIPPED._replace(steps=5)
    once = make(few, recipe).digest()
    assert make(few, recipe).digest() == once
    assert make(few, recipe._replace(decay=1.0)).digest() != once


def test_training_runs_as_a_command_and_names_data_that_is_absent(tmp_path: Path) -> None:
    told = [sys.executable, "-m", "tapedeck.connectors.sentiment.training"]
    found = subprocess.run(
        told,
        env=os.environ | {"TAPE_SHARED_DATA": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert found.returncode
    assert "set TAPE_SHARED_DATA" in found.stderr


def test_the_model_is_read_in_a_tenth_of_a_second_of_cpu() -> None:
    took = []
    for _ in range(3):
        began = time.process_time()
        light.read(light.FILE)
        took.append(time.process_time() - began)
    assert min(took) < 0.1


def test_the_report_counts_what_is_there() -> None:
    true, told = np.array([0, 0, 1, 2]), np.array([0, 1, 1, 2])
    assert confusion(true, told).tolist() == [[1, 1, 0], [0, 1, 0], [0, 0, 1]]
    assert f1_of(true, told) == pytest.approx([2 / 3, 2 / 3, 1])
    shares = np.array([[0.9, 0.05, 0.05], [0.95, 0.0, 0.05]])
    bins = reliability(np.array([0, 1]), shares)
    assert [(each.texts, each.right) for each in bins] == [(2, 0.5)]
    assert calibration_error(bins) == pytest.approx(0.425)
