"""From labelled texts to the model that is shipped: rarity, fit, calibration, eight bits."""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from tapedeck.connectors.sentiment.features import STARTS, Found, Ints, features_of
from tapedeck.connectors.sentiment.light import Floats, Weights, block_of, leaned, logits, rows_of, softmax
from tapedeck.connectors.sentiment.text import tokens_of
from tapedeck.connectors.sentiment.training.data import Labelled, split
from tapedeck.connectors.sentiment.training.fit import fit
from tapedeck.connectors.sentiment.training.report import labels_of, macro_f1

_LEVELS = 127
_TEMPERATURES = np.geomspace(0.25, 4.0, 81)
_MARGINS = np.linspace(-0.3, 0.1, 41)


class Recipe(NamedTuple):
    """What the training can be told; the defaults are the shipped model's."""

    fewest: tuple[int, ...] = (2, 3, 2)
    """Texts in which a bucket of each block must be met."""
    lengths: tuple[float, ...] = (1.0, 0.7, 1.0)
    """How much each block counts."""
    decay: float = 0.3
    """L2 per text."""
    importance: tuple[float, ...] = (4.0, 3.0, 1.0)
    """Of each class: the rare ones count more."""
    steps: int = 80
    calibration: float = 0.2
    """Share of the texts on which another fit, of the rest, is calibrated."""


SHIPPED = Recipe()


def make(labelled: Labelled, recipe: Recipe = SHIPPED) -> Weights:
    """The model of these texts. The same texts and recipe give the same model."""
    fitted_on, held = (labelled.part(places) for places in split(labelled, recipe.calibration))
    temperature, margin = _calibrated(_fitted(fitted_on, recipe), held)
    model = _fitted(labelled, recipe)
    return model._replace(
        units=model.units / temperature, bias=model.bias / temperature, margin=np.array(margin)
    )


def _fitted(labelled: Labelled, recipe: Recipe) -> Weights:
    """A model that is not calibrated."""
    count = len(labelled.texts)
    found = features_of([tokens_of(text) for text in labelled.texts])
    rarity = _rarity(found, count, recipe.fewest)
    rows = rows_of(found, count, rarity)
    lengths = np.asarray(recipe.lengths)
    rows = rows._replace(value=rows.value * lengths[block_of(rows.bucket)])
    fitted = fit(rows, labelled.labels, np.asarray(recipe.importance), recipe.decay, recipe.steps)
    whole = np.zeros((STARTS[-1], 3))
    whole[fitted.buckets] = fitted.weights
    blocks = block_of(np.arange(STARTS[-1]))
    units = np.array([np.abs(whole[blocks == block]).max() for block in range(len(lengths))]) / _LEVELS
    packed = np.rint(whole / np.where(units > 0, units, 1.0)[blocks, None]).astype(np.int8)
    return Weights(rarity, packed, units * lengths, fitted.bias, np.array(0.0))


def _rarity(found: Found, texts: int, fewest: tuple[int, ...]) -> npt.NDArray[np.float16]:
    """The smoothed inverse share of texts that have each bucket, as a logarithm; 0 where they are too few."""
    met = np.bincount(found.bucket, minlength=STARTS[-1])
    enough = met >= np.asarray(fewest)[block_of(np.arange(STARTS[-1]))]
    return np.where(enough, np.log((1 + texts) / (1 + met)) + 1, 0.0).astype(np.float16)


def _calibrated(model: Weights, held: Labelled) -> tuple[float, float]:
    """The temperature of the least log loss on ``held``, then the margin of the best labels."""
    found = logits(model, [tokens_of(text) for text in held.texts])
    losses = [_log_loss(softmax(found / each), held.labels) for each in _TEMPERATURES]
    temperature = float(_TEMPERATURES[int(np.argmin(losses))])
    shares = softmax(found / temperature)
    scores = [macro_f1(held.labels, labels_of(leaned(shares, each))) for each in _MARGINS.tolist()]
    return temperature, float(_MARGINS[int(np.argmax(scores))])


def _log_loss(shares: Floats, labels: Ints) -> float:
    return float(-np.log(shares[np.arange(len(labels)), labels]).mean())
