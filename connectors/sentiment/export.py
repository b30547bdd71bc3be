"""Export of a FinBERT folder for the onnx engine: the network, its tokenizer, its labels, where it is from.

int8 is kept only after a measurement. The variant with the fewest changed labels on a sample is taken, and
refused if it changes too many labels of the whole set, or loses too much macro-F1.
"""

import json
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import redirect_stdout
from io import StringIO
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from tapedeck.connectors.sentiment import bert, onnx
from tapedeck.connectors.sentiment.extras import module
from tapedeck.connectors.sentiment.finbert import EXPORTED, EXTRA, Finbert
from tapedeck.connectors.sentiment.light import NEGATIVE, NEUTRAL, POSITIVE
from tapedeck.connectors.sentiment.training.data import Labelled
from tapedeck.connectors.sentiment.training.report import labels_of, macro_f1
from tapedeck.schemas.errors import Fatal

MAX_FLIPS = 0.01
MAX_F1_LOSS = 0.01
SAMPLE = 512
"""Texts on which the variants are compared; the one that is kept is measured on all."""
_CLOSE = 1e-3  # a probability of the exported network may differ from torch's by this
_LIKE_TORCH = 16  # texts on which it is compared
Say = Callable[[str], None]


class Variant(NamedTuple):
    """How weights are made int8."""

    weight_type: str
    reduce_range: bool
    per_channel: bool

    def __str__(self) -> str:
        told = (self.reduce_range, "reduce_range"), (self.per_channel, "per_channel")
        return " ".join([self.weight_type, *(name for is_set, name in told if is_set)])


class Measured(NamedTuple):
    """int8 against fp32 on some texts. ``distance``: the most that a probability differs."""

    texts: int
    flips: int
    f1_fp32: float
    f1_int8: float
    distance: float


VARIANTS = tuple(Variant(*each) for each in product(("QInt8", "QUInt8"), (False, True), (False, True)))


def export(source: str, out: Path, labelled: Labelled, *, int8: bool, say: Say) -> None:
    """Write the folder ``out``. ``labelled``: the texts on which it is measured.

    Raises Fatal, and writes nothing, if the export differs from the model or int8 is not good enough.
    """
    if out.exists():
        raise Fatal("the folder exists", value=str(out), remedy="name a new one; nothing was written")
    model = Finbert(source, probe=False)
    try:
        model.check()
        is_trained = True
    except bert.ProbeFailed as error:
        is_trained = False
        say(
            f"the model is not trained: {error.what}."
            " Only distances are measured, and no engine will load it."
        )
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=out.parent, prefix=f".{out.name}.") as made:
        fp32 = Path(made) / "fp32"
        _write_fp32(model, fp32)
        sample = _sample(labelled)
        _like_torch(model, fp32, sample.texts[:_LIKE_TORCH], say)
        kept = _best_int8(fp32, (labelled, sample), say, is_trained=is_trained) if int8 else fp32
        kept.rename(out)
    size = sum(path.stat().st_size for path in out.iterdir())
    say(f"{out}: {size / 1e6:.1f} MB")


def _write_fp32(model: Finbert, folder: Path) -> None:
    torch = module("torch", EXTRA)
    for needed in ("onnx", "onnxscript"):
        module(needed, EXTRA)
    folder.mkdir()
    given = torch.ones((2, 16), dtype=torch.int64)
    with redirect_stdout(StringIO()):  # the exporter tells its steps
        torch.onnx.export(
            _logits_alone(torch, model.loaded.network),
            (given, given.clone()),
            str(folder / onnx.NETWORK),
            input_names=list(onnx.INPUTS),
            output_names=["logits"],
            dynamic_shapes=({0: torch.export.Dim.DYNAMIC, 1: torch.export.Dim.DYNAMIC},) * 2,
            external_data=False,
            dynamo=True,
            verbose=False,
        )
    # Making the network int8 turns weights around, and fails on the exporter's notes of their shapes.
    network = module("onnx", EXTRA).load(str(folder / onnx.NETWORK))
    del network.graph.value_info[:]
    module("onnx", EXTRA).save(network, str(folder / onnx.NETWORK))
    model.loaded.tokenizer.save(str(folder / onnx.TOKENIZER))
    order = model.loaded.order
    versions = {
        name: module(name, EXTRA).__version__
        for name in ("torch", "transformers", "onnx", "onnxscript", "onnxruntime")
    }
    card = {
        "format": onnx.FORMAT,
        "labels": sorted(bert.LABELS, key=lambda label: getattr(order, label)),
        "model_id": model.model.model_id,
        "max_tokens": model.loaded.max_tokens,
        "precision": "fp32",
        "source_digest": model.model.digest,
        "exported_with": versions,
    }
    _write_card(folder, card)


def _logits_alone(torch: Any, network: Any) -> Any:
    class Logits(torch.nn.Module):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.network = network

        def forward(self, input_ids: Any, attention_mask: Any) -> Any:
            return self.network(input_ids=input_ids, attention_mask=attention_mask).logits

    return Logits().eval()


def _write_card(folder: Path, card: dict[str, Any]) -> None:
    (folder / EXPORTED).write_text(json.dumps(card, indent=1) + "\n", encoding="utf-8")


def _sample(labelled: Labelled) -> Labelled:
    """Texts at even distances, so that each part of the set is in it."""
    count = len(labelled.texts)
    return labelled.part(np.unique(np.linspace(0, count - 1, min(SAMPLE, count)).astype(np.int64)))


def _like_torch(model: Finbert, folder: Path, texts: Sequence[str], say: Say) -> None:
    exported = onnx.Onnx(str(folder), probe=False)
    distance = float(abs(model.shares(texts) - exported.shares(texts)).max())
    say(f"fp32 against torch: a probability differs by {distance:.1e} at most, {len(texts)} texts")
    if distance > _CLOSE:
        raise Fatal(
            "the exported network gives other probabilities than the model",
            value=f"{distance:.4f}",
            remedy=f'at most {_CLOSE} is allowed; use sentiment.engine = "finbert" for this model',
        )


def _best_int8(fp32: Path, sets: tuple[Labelled, Labelled], say: Say, *, is_trained: bool) -> Path:
    made, (labelled, sample) = fp32.parent, sets
    reference = onnx.Onnx(str(fp32), probe=False)
    told = _told(is_trained)
    best: tuple[tuple[float, ...], Variant] | None = None
    before = _ordered(reference.shares(sample.texts))
    for variant, folder in _quantized(fp32, made):
        found = _measured(sample, before, folder)
        say(f"{variant!s:<32} {told(found)}")
        rank = (found.flips, -found.f1_int8, found.distance) if is_trained else (found.distance,)
        if best is None or rank < best[0]:
            if best:
                shutil.rmtree(made / str(best[1]))
            best = rank, variant
        else:
            shutil.rmtree(folder)
    assert best is not None
    kept = made / str(best[1])
    if is_trained:
        found = _measured(labelled, _ordered(reference.shares(labelled.texts)), kept)
        say(f"kept: {best[1]}, on the whole set {told(found)}")
        judge(found)
    else:
        found = _measured(sample, before, kept)
        say(f"kept: {best[1]}, the nearest to fp32")
    card = bert.read_json(kept / EXPORTED) | {"measured": found._asdict() if is_trained else None}
    _write_card(kept, card)
    return kept


def _quantized(fp32: Path, made: Path) -> Iterator[tuple[Variant, Path]]:
    quantization = module("onnxruntime.quantization", EXTRA)
    for variant in VARIANTS:
        folder = made / str(variant)
        folder.mkdir()
        quantization.quantize_dynamic(
            str(fp32 / onnx.NETWORK),
            str(folder / onnx.NETWORK),
            weight_type=quantization.QuantType[variant.weight_type],
            reduce_range=variant.reduce_range,
            per_channel=variant.per_channel,
        )
        shutil.copy(fp32 / onnx.TOKENIZER, folder)
        card = bert.read_json(fp32 / EXPORTED) | {"precision": "int8", "variant": str(variant)}
        _write_card(folder, card)
        yield variant, folder


def _ordered(shares: bert.Floats) -> bert.Floats:
    """The columns in the order of the labelled texts."""
    found = np.empty_like(shares)
    found[:, (POSITIVE, NEGATIVE, NEUTRAL)] = shares
    return found


def _measured(labelled: Labelled, before: bert.Floats, folder: Path) -> Measured:
    after = _ordered(onnx.Onnx(str(folder), probe=False).shares(labelled.texts))
    old, new = labels_of(before), labels_of(after)
    return Measured(
        len(labelled.texts),
        int((old != new).sum()),
        macro_f1(labelled.labels, old),
        macro_f1(labelled.labels, new),
        float(abs(before - after).max()),
    )


def _told(is_trained: bool) -> Callable[[Measured], str]:
    def told(found: Measured) -> str:
        distance = f"distance {found.distance:.4f}, {found.texts:,} texts"
        if not is_trained:
            return distance
        return (
            f"{found.flips} labels flip ({found.flips / found.texts:.2%}), macro-F1 fp32 {found.f1_fp32:.4f},"
            f" int8 {found.f1_int8:.4f}, {distance}"
        )

    return told


def judge(found: Measured) -> None:
    """Raises Fatal if int8 changes too many labels or loses too much."""
    loss = found.f1_fp32 - found.f1_int8
    if found.flips > MAX_FLIPS * found.texts or loss > MAX_F1_LOSS:
        raise Fatal(
            f"int8 flips {found.flips / found.texts:.2%} of the labels and loses {100 * loss:.2f} points of"
            " macro-F1",
            value=f"{found.flips} of {found.texts}",
            remedy=f"at most {MAX_FLIPS:.0%} and {100 * MAX_F1_LOSS:.0f} point are allowed: export without"
            " --int8; nothing was written",
        )
