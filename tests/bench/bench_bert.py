"""Texts per second of a FinBERT-size model: a plain pipeline of transformers beside the engines of tapedeck.

    make bench-ml

The model is made on the spot: the shape of BERT base, random weights, the tokenizer of the shared tiny model.
So its labels say nothing, and its speed is that of FinBERT. The plain pipeline pads each text to 128 tokens.
All run in this process on the same cores, in turn; a figure is the median of its rounds.
"""

import json
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tapedeck.connectors.sentiment.export import export
from tapedeck.connectors.sentiment.extras import module
from tapedeck.connectors.sentiment.finbert import EXTRA, Finbert
from tapedeck.connectors.sentiment.onnx import Onnx
from tapedeck.connectors.sentiment.scorer import Scorer, outcomes
from tapedeck.connectors.sentiment.training.data import Labelled
from tests.bench.bench_sentiment import texts
from tests.bench.report import Row, Table, machine
from tests.support.cases import shared

FP32_AIM, INT8_AIM = 3.0, 6.0
_TEXTS, _ROUNDS = 128, 3
_PADDED = 128
_PLAIN = f"plain pipeline, padded to {_PADDED}"
_BASE = {
    "hidden_size": 768,
    "intermediate_size": 3072,
    "num_attention_heads": 12,
    "num_hidden_layers": 12,
    "vocab_size": 30_522,
}


def made(folder: Path) -> Path:
    """A folder as a model is published in, with random weights."""
    transformers = module("transformers", EXTRA)
    shutil.copytree(shared("tiny_finbert"), folder, copy_function=shutil.copyfile)
    folder.chmod(0o755)
    told = json.loads((folder / "config.json").read_text(encoding="utf-8")) | _BASE
    network = transformers.BertForSequenceClassification(transformers.BertConfig.from_dict(told))
    network.save_pretrained(folder)
    return folder


def plain(folder: Path) -> Callable[[Sequence[str]], Any]:
    """What the documentation of transformers shows, padded to a fixed length."""
    pipeline = module("transformers", EXTRA).pipeline(
        "text-classification", model=str(folder), tokenizer=str(folder), device="cpu", top_k=None
    )
    how = {"padding": "max_length", "truncation": True, "max_length": _PADDED, "batch_size": 32}
    return lambda given: pipeline(list(given), **how)


def rate(run: Callable[[Sequence[str]], Any], given: Sequence[str]) -> float:
    """Texts per second."""
    began = time.perf_counter()
    run(given)
    return len(given) / (time.perf_counter() - began)


def scoring(scorer: Scorer) -> Callable[[Sequence[str]], Any]:
    """Every text of an engine, each with its score."""

    def run(given: Sequence[str]) -> None:
        assert all(each.score is not None for each in outcomes(scorer, list(given)))

    return run


def measure() -> Table:
    """The four of them, one round after the other. Raises Fatal without the extra."""
    given = texts(_TEXTS)
    with tempfile.TemporaryDirectory(prefix="bench-bert-") as name:
        folder = made(Path(name) / "base")
        labelled = Labelled(given[:32], np.zeros(32, dtype=np.int64))
        for int8 in (False, True):
            export(str(folder), Path(name) / ("int8" if int8 else "fp32"), labelled, int8=int8, say=print)
        runs = {
            _PLAIN: plain(folder),
            "finbert, torch": scoring(Finbert(str(folder), probe=False)),
            "onnx, fp32": scoring(Onnx(str(Path(name) / "fp32"), probe=False)),
            "onnx, int8": scoring(Onnx(str(Path(name) / "int8"), probe=False)),
        }
        found: dict[str, list[float]] = {label: [] for label in runs}
        for run in runs.values():
            run(given[:16])
        for _ in range(_ROUNDS):
            for label, run in runs.items():
                found[label].append(rate(run, given))
    base = found[_PLAIN]
    rows = []
    for label, rates in found.items():
        times = statistics.median(mine / theirs for mine, theirs in zip(rates, base, strict=True))
        aim = {"finbert, torch": FP32_AIM, "onnx, fp32": FP32_AIM, "onnx, int8": INT8_AIM}.get(label)
        row = Row(label, statistics.median(rates), "texts/s", note=f"{times:.1f}x the plain pipeline")
        rows.append(row if aim is None else row._replace(aim=f"{aim:g}x", met=times >= aim))
    notes = (
        f"median of {_ROUNDS}; {_TEXTS} newswire sentences; random weights of the size of BERT base",
        "torch and ONNX Runtime with their own choice of threads",
    )
    return Table("a FinBERT-size model, texts per second", tuple(rows), notes)


def main() -> None:
    """Measure and print."""
    print(machine())
    print(measure())


if __name__ == "__main__":
    main()
