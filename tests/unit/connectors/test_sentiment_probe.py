"""The probe of a model's labels and words at load, on a network that knows all answers, without torch."""

from collections.abc import Sequence
from itertools import permutations
from types import SimpleNamespace

import numpy as np
import pytest

from tapedeck.connectors.sentiment.bert import LABELS, PROBE, Bert, Order, ProbeFailed, order_of
from tapedeck.connectors.sentiment.scorer import Model
from tapedeck.schemas.errors import Fatal

COLUMNS = ("positive", "negative", "neutral")
"""What the network's columns mean, whatever its config says."""
ANSWERS = dict(PROBE)


class Tokenizer:
    """One token a text: its place among the probe's, so that the network can tell them apart."""

    def __init__(self, token: str = "word") -> None:
        self.token = token

    def encode_batch(self, texts: Sequence[str]) -> list[SimpleNamespace]:
        places = list(ANSWERS)
        return [SimpleNamespace(ids=[places.index(text)], tokens=[self.token]) for text in texts]


def network(ids: np.ndarray, mask: np.ndarray) -> np.ndarray:
    labels = list(ANSWERS.values())
    return np.array([[3.0 * (labels[row[0]] == column) for column in COLUMNS] for row in ids])


def engine(id2label: dict[str, str], token: str = "word") -> Bert:
    order = order_of(id2label, "config.json")
    return Bert(Model("finbert", "a-model", "0" * 16), (Tokenizer(token), network), order, 0.05)


@pytest.mark.parametrize("names", list(permutations(LABELS)), ids="-".join)
def test_only_the_right_order_of_labels_passes_the_probe(names: Sequence[str]) -> None:
    found = engine({str(place): name for place, name in enumerate(names)})
    if tuple(names) == COLUMNS:
        found.check()
        return
    with pytest.raises(ProbeFailed, match=r"of a sentence that is .*labels belong to another model"):
        found.check()


def test_a_tokenizer_without_the_words_is_named_before_the_labels() -> None:
    with pytest.raises(Fatal, match=r"does not know English: 5 of 5.*tokenizer.json that belongs"):
        engine(dict(enumerate(COLUMNS)), "[UNK]").check()  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "id2label",
    [{}, {"0": "LABEL_0", "1": "LABEL_1", "2": "LABEL_2"}, {"0": "positive", "1": "negative"}],
)
def test_labels_that_are_not_the_three_are_refused_with_what_to_write(id2label: dict[str, str]) -> None:
    with pytest.raises(Fatal, match="write into id2label of its config which class is which"):
        order_of(id2label, "config.json")


def test_an_order_is_read_by_name_in_any_case() -> None:
    assert order_of({"0": " Neutral", "1": "POSITIVE", "2": "negative"}, "") == Order(1, 2, 0)
