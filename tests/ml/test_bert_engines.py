"""The engines of BERT models on the tiny model of the shared data, whose weights are random.

Its labels say nothing, so the probe is off where the path itself is tested, and a test shows that the probe
refuses it. `make test-ml` runs this; without the packages of the extra `ml` it is skipped.
"""

import json
import shutil
import socket
from importlib.util import find_spec
from pathlib import Path

import pytest

from tapedeck.connectors.sentiment import bert
from tapedeck.connectors.sentiment.scorer import ScoreFailed, SentimentReason, outcomes
from tapedeck.schemas.errors import Fatal
from tests.support.cases import shared

pytestmark = [
    pytest.mark.ml,
    pytest.mark.skipif(
        any(find_spec(name) is None for name in ("torch", "transformers", "onnx", "onnxruntime")),
        reason="the packages of the extra ml are not installed: make test-ml",
    ),
]
TEXTS = [
    "Profit rose",
    "\ud800 rose",
    "a " * 1500,
    "Sales fell for the third quarter in a row",
    "利润大幅增长",
]


@pytest.fixture
def tiny(tmp_path: Path) -> Path:
    folder = tmp_path / "tiny"
    shutil.copytree(shared("tiny_finbert"), folder)
    for each in folder.iterdir():
        each.chmod(0o644)
    return folder


def finbert(folder: Path, *, probe: bool = False):
    from tapedeck.connectors.sentiment.finbert import Finbert

    return Finbert(str(folder), probe=probe)


def relabel(folder: Path, labels: list[str]) -> None:
    path = folder / "config.json"
    config = json.loads(path.read_text())
    config["id2label"] = {str(place): label for place, label in enumerate(labels)}
    config["label2id"] = {label: place for place, label in enumerate(labels)}
    path.write_text(json.dumps(config))


def test_a_folder_is_loaded_without_the_network_and_each_text_has_a_score(tiny, monkeypatch) -> None:
    def refuse(*_: object) -> None:
        raise AssertionError("the network was asked")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    scorer = finbert(tiny)
    found = outcomes(scorer, TEXTS)
    assert [each.reason for each in found] == [SentimentReason.SCORED] * len(TEXTS)
    assert scorer.model[:2] == ("finbert", "tiny")
    for score in (each.score for each in found):
        assert score is not None and score.p_pos + score.p_neg + score.p_neu == pytest.approx(1, abs=1e-6)
        assert score.p_pos == round(score.p_pos, 4)
    alone = [scorer.score([text])[0] for text in TEXTS]
    assert [each.score for each in found] == [pytest.approx(each, abs=2e-4) for each in alone]


def test_the_probe_refuses_random_weights_by_value_and_remedy(tiny) -> None:
    with pytest.raises(bert.ProbeFailed, match=r"sentence that is .*never trained"):
        finbert(tiny, probe=True)


def test_the_order_of_labels_is_read_from_the_config(tiny) -> None:
    (before,) = finbert(tiny).score(["Profit rose"])
    relabel(tiny, ["Neutral", "Positive", "Negative"])
    (after,) = finbert(tiny).score(["Profit rose"])
    assert after[:3] == pytest.approx((before.p_neg, before.p_neu, before.p_pos), abs=2e-4)
    assert after.model_digest != before.model_digest


def test_a_tokenizer_of_another_model_is_refused_for_its_unknown_words(tiny) -> None:
    path = tiny / "tokenizer.json"
    told = json.loads(path.read_text())
    kept = {word: place for word, place in told["model"]["vocab"].items() if word.startswith("[")}
    told["model"]["vocab"] = kept
    path.write_text(json.dumps(told))
    with pytest.raises(Fatal, match=r"does not know English.*tokenizer.json that belongs"):
        finbert(tiny, probe=True)


@pytest.mark.parametrize(
    ("gone", "words"),
    [
        (["tokenizer.json", "vocab.txt"], "no tokenizer"),
        (["model.safetensors"], "no weights"),
        (["config.json"], "config.json cannot be read"),
    ],
)
def test_a_missing_file_is_named(tiny, gone, words) -> None:
    for name in gone:
        (tiny / name).unlink()
    with pytest.raises(Fatal, match=words):
        finbert(tiny)


def test_broken_weights_and_unknown_labels_are_refused(tiny) -> None:
    weights = (tiny / "model.safetensors").read_bytes()
    (tiny / "model.safetensors").write_bytes(weights[:1000])
    with pytest.raises(Fatal, match="cannot be loaded"):
        finbert(tiny)
    (tiny / "model.safetensors").write_bytes(weights)
    relabel(tiny, ["LABEL_0", "LABEL_1", "LABEL_2"])
    with pytest.raises(Fatal, match="not positive, negative and neutral"):
        finbert(tiny)


def test_a_network_that_fails_is_a_failed_score(tiny, monkeypatch) -> None:
    scorer = finbert(tiny)

    def fail(**_: object) -> None:
        raise RuntimeError("out of memory")

    monkeypatch.setattr(scorer.loaded.network, "forward", fail)
    with pytest.raises(ScoreFailed, match="out of memory"):
        scorer.score(["Profit rose"])


@pytest.mark.parametrize("int8", [False, True], ids=["fp32", "int8"])
def test_an_export_gives_the_models_probabilities_without_torch(tiny, tmp_path, int8) -> None:
    from tapedeck.connectors.sentiment.export import export
    from tapedeck.connectors.sentiment.onnx import Onnx
    from tapedeck.connectors.sentiment.training import data

    told: list[str] = []
    labelled = data.read(shared(data.NAME))
    out = tmp_path / "exported"
    export(str(tiny), out, labelled.part(range(0, 9500, 500)), int8=int8, say=told.append)
    assert "not trained" in told[0] and "macro-F1" not in " ".join(told)
    assert len([line for line in told if line.startswith("Q")]) == (8 if int8 else 0)
    scorer, model = Onnx(str(out), probe=False), finbert(tiny)
    assert abs(scorer.shares(TEXTS) - model.shares(TEXTS)).max() < (0.05 if int8 else 1e-4)
    assert sorted(each.name for each in out.iterdir()) == ["model.onnx", "tapedeck.json", "tokenizer.json"]
    if int8:
        assert [scorer.score([text])[0] for text in TEXTS] == scorer.score(TEXTS)
    with pytest.raises(bert.ProbeFailed):
        Onnx(str(out))
    with pytest.raises(Fatal, match=r'sentiment\.engine = "onnx"'):
        finbert(out)
    with pytest.raises(Fatal, match="the folder exists"):
        export(str(tiny), out, labelled, int8=False, say=told.append)
    (out / "tokenizer.json").unlink()
    with pytest.raises(Fatal, match=r"no tokenizer.json"):
        Onnx(str(out), probe=False)


def test_int8_that_flips_labels_or_loses_f1_is_refused() -> None:
    from tapedeck.connectors.sentiment.export import Measured, judge

    judge(Measured(1000, 10, 0.80, 0.791, 0.1))
    for bad in (Measured(1000, 11, 0.80, 0.80, 0.1), Measured(1000, 0, 0.80, 0.785, 0.1)):
        with pytest.raises(Fatal, match=r"int8 flips .* macro-F1"):
            judge(bad)
