"""What the engines of a BERT classifier share: order of labels, tokens, batches, the probe, the digest.

Weights, tokenizer and labels come from someone else, and a wrong one of the three still gives numbers. So
the order of the labels is read and never assumed, and five sentences must get their label at load.
"""

import json
import platform
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from tapedeck.connectors.sentiment.scorer import Mattered, Model, Score, ScoreFailed, scored
from tapedeck.schemas.errors import Fatal

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
Network = Callable[[Ints, Ints], Any]
"""Token ids and mask, text by token, to one logit per text and class."""

PLACES = 4
"""Decimals of a probability: float32 sums in another order, or beside padding, differ in the sixth."""
MAX_TOKENS = 512
LABELS = ("positive", "negative", "neutral")
PROBE = (
    ("Operating profit rose to 13.1 million euros from 8.7 million euros a year earlier.", "positive"),
    ("The company raised its full-year outlook after record quarterly sales.", "positive"),
    ("The company cut its outlook and reported a large loss as sales fell sharply.", "negative"),
    ("Shares plunged after the bank warned that profit will decline.", "negative"),
    ("The annual general meeting will be held in Helsinki on Thursday.", "neutral"),
)
"""Sentences with the label that every model of financial sentiment must find most probable."""
_UNKNOWN = "[UNK]"
_ROWS = 64
_CELLS = 4096  # tokens of a batch, padding included
_FLAGS = ("asimddp", "i8mm", "sve", "avx2", "avx512f", "avx512_vnni", "avx_vnni", "amx_int8")


class Order(NamedTuple):
    """Which column of the logits is which label."""

    positive: int
    negative: int
    neutral: int


class ProbeFailed(Fatal):
    """A model does not know the labels of the five sentences."""


def order_of(id2label: Mapping[Any, Any], place: str) -> Order:
    """The columns by name. Raises Fatal if the names are not exactly the three labels."""
    names = {str(label).strip().lower(): int(key) for key, label in id2label.items()}
    if sorted(names) != sorted(LABELS) or sorted(names.values()) != [0, 1, 2] or len(id2label) != len(LABELS):
        raise Fatal(
            "the model's labels are not positive, negative and neutral",
            value=dict(id2label),
            remedy="write into id2label of its config which class is which, as the model's authors say it",
            place=place,
        )
    return Order(*(names[label] for label in LABELS))


class Bert:
    """An engine around a tokenizer and a network.

    ``rows``: the most texts of a batch; 1 if the network measures its numbers over the batch, so that its
    texts are not independent.
    """

    def __init__(
        self,
        model: Model,
        parts: tuple[Any, Network],
        order: Order,
        threshold: float,
        *,
        rows: int = _ROWS,
    ) -> None:
        self.model = model
        self._tokenizer, self._network = parts
        self._order = order
        self._threshold = threshold
        self._rows = rows

    def score(self, texts: Sequence[str]) -> list[Score]:
        """A score per text, in order. Raises ScoreFailed if the network fails or gives no numbers."""
        return [
            scored(pos, neg, self.model, self._threshold, PLACES)
            for pos, neg, _ in self.shares(texts).tolist()
        ]

    def mattered(self, text: str, count: int) -> list[Mattered]:
        """None: the network does not say."""
        del text, count
        return []

    def shares(self, texts: Sequence[str]) -> Floats:
        """Probabilities, text by positive, negative and neutral, not rounded. Raises ScoreFailed."""
        found = np.empty((len(texts), 3))
        try:
            tokens = [each.ids for each in self._encoded(texts)]
            for places in batches([len(each) for each in tokens], self._rows):
                logits = np.asarray(self._network(*_padded([tokens[k] for k in places])), np.float64)
                found[places] = _softmax(logits[:, self._order])
        except (
            Exception
        ) as error:  # the runtimes raise errors of many classes, and a text must not end the process
            raise ScoreFailed(f"the network failed: {error}", value=self.model.model_id) from error
        if not np.isfinite(found).all():
            raise ScoreFailed("the network gave no numbers", value=self.model.model_id)
        return found

    def check(self) -> None:
        """Raises Fatal if the tokenizer does not know the probe's words, ProbeFailed if a label is wrong."""
        texts = [text for text, _ in PROBE]
        unknown = sum(_UNKNOWN in each.tokens for each in self._encoded(texts))
        if unknown:
            raise Fatal(
                f"the tokenizer does not know English: {unknown} of {len(PROBE)} sentences have {_UNKNOWN}",
                value=self.model.model_id,
                remedy="put the tokenizer.json that belongs to the model into its folder",
            )
        for (text, wanted), row in zip(PROBE, self.shares(texts), strict=True):
            if (label := LABELS[int(row.argmax())]) != wanted:
                raise ProbeFailed(
                    f"the model says {label} of a sentence that is {wanted}: {text!r}",
                    value=self.model.model_id,
                    remedy="its tokenizer or labels belong to another model, or it was never trained:"
                    " take the folder as its authors publish it",
                )

    def _encoded(self, texts: Sequence[str]) -> list[Any]:
        # The tokenizer refuses half of a surrogate pair.
        found: list[Any] = self._tokenizer.encode_batch(
            [t.encode("utf-8", "replace").decode() for t in texts]
        )
        return found


def ready(tokenizer: Any, max_tokens: int) -> Any:
    """The tokenizer, set to cut texts and to leave padding to us."""
    tokenizer.enable_truncation(max_length=min(MAX_TOKENS, max_tokens))
    tokenizer.no_padding()
    return tokenizer


def batches(lengths: Sequence[int], rows: int = _ROWS) -> Iterator[list[int]]:
    """Places of texts in batches of similar length, so that little is computed for padding."""
    batch: list[int] = []
    for place in sorted(range(len(lengths)), key=lambda place: (lengths[place], place)):
        if batch and (len(batch) >= rows or (len(batch) + 1) * lengths[place] > _CELLS):
            yield batch
            batch = []
        batch.append(place)
    if batch:
        yield batch


def _padded(tokens: Sequence[Sequence[int]]) -> tuple[Ints, Ints]:
    shape = len(tokens), max(map(len, tokens))
    ids, mask = np.zeros(shape, np.int64), np.zeros(shape, np.int64)
    for row, each in enumerate(tokens):
        ids[row, : len(each)] = each
        mask[row, : len(each)] = 1
    return ids, mask


def _softmax(logits: Floats) -> Floats:
    raised = np.exp(logits - logits.max(axis=1, keepdims=True))
    shares: Floats = raised / raised.sum(axis=1, keepdims=True)
    return shares


def read_json(path: Path) -> dict[str, Any]:
    """An object of a model's folder. Raises Fatal if it cannot be read."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(found, dict):
            raise ValueError("it is no object")
    except (OSError, ValueError) as error:
        raise Fatal(
            f"the model's {path.name} cannot be read: {error}",
            value=str(path),
            remedy="take the whole folder as it was published or exported",
        ) from None
    return found


def digest_of(folder: Path, names: Sequence[str], *told: str) -> str:
    """First 16 hex of SHA-256 over ``told`` and the files: name, length and bytes of each, by name."""
    found = sha256("|".join(told).encode())
    for name in sorted(names):
        path = folder / name
        found.update(f"|{name}|{path.stat().st_size}|".encode())
        with path.open("rb") as stream:
            while block := stream.read(1 << 20):
                found.update(block)
    return found.hexdigest()[:16]


def instruction_set() -> str:
    """The machine's kind and those of its instructions that change how a network's numbers round."""
    try:
        known = set(re.findall(r"\w+", Path("/proc/cpuinfo").read_text(encoding="ascii", errors="replace")))
    except OSError:
        return f"{platform.machine()} {platform.processor()}"
    return " ".join([platform.machine(), *(flag for flag in _FLAGS if flag in known)])
