"""``tape score``: one text with what mattered in it, and files of texts with errors in their place."""

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from tapedeck.schemas.errors import ConfigInvalid, Fatal
from tapedeck.tape.cli.main import app

KEYS = {"label", "score", "p_pos", "p_neg", "p_neu"}


def score(*arguments: str, given: str = "") -> tuple[str, int]:
    result = CliRunner().invoke(app, ["score", *arguments], input=given)
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result.stdout, result.exit_code


def lines_of(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines()]


@pytest.mark.parametrize("engine", ["light", "lexicon"])
def test_a_text_gives_label_probabilities_tokens_and_the_model(engine: str) -> None:
    told, code = score("Shares plunged after a profit warning", "--engine", engine)
    head, shares, tokens, model = told.splitlines()
    assert code == 0
    assert head.startswith("NEGATIVE  score -0.")
    assert sum(float(word) for word in shares.split()[1::2]) == pytest.approx(1, abs=2e-6)
    assert "plunged" in tokens
    assert model.startswith(f"engine {engine}  model tapedeck-") and len(model.split()[-1]) == 16


def test_a_file_gives_a_line_per_text_and_bad_lines_their_error_in_place(tmp_path: Path) -> None:
    given = tmp_path / "texts.jsonl"
    rows = [json.dumps({"text": f"Profit rose {n} %", "id": n}) for n in range(300)]
    bad = ["{", "[1]", '{"text": 7}', '{"title": "x"}', '{"text": ""}', "", '{"text": "\\ud800"}']
    given.write_text("\n".join([*rows[:150], *bad, *rows[150:]]))
    told, code = score("--in", str(given))
    found = lines_of(told)
    assert code == 1
    assert len(found) == 306
    assert ["error" in each for each in found[150:154]] == [True] * 4
    assert "line 151 is not JSON" in found[150]["error"]
    assert found[154]["reason"] == found[155]["reason"] == "EMPTY_TEXT" and found[154]["score"] is None
    good = [*found[:150], *found[156:]]
    assert all(set(each) == KEYS for each in good)
    out = tmp_path / "scores.jsonl"
    assert score("--in", "-", "--out", str(out), given="\n".join(rows)) == ("", 0)
    assert lines_of(out.read_text()) == good


def test_the_document_names_engine_and_threshold(tmp_path: Path) -> None:
    document = tmp_path / "tape.toml"
    document.write_text('[sentiment]\nengine = "lexicon"\nlabel_threshold = 0.6\n')
    told, _ = score("profit rose", "--config", str(document))
    assert told.startswith("NEUTRAL  score +0.500000") and "engine lexicon" in told
    assert "engine light" in score("profit rose", "--config", str(document), "--engine", "light")[0]


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        ([], Fatal, "either a text or --in"),
        (["x", "--in", "-"], Fatal, "either a text or --in"),
        (["x", "--out", "f"], Fatal, "--out needs --in"),
        ([""], Fatal, "EMPTY_TEXT"),
        (["--in", "absent.jsonl"], Fatal, "cannot be read"),
        (["x", "--engine", "vader"], ConfigInvalid, "sentiment.engine"),
    ],
)
def test_what_cannot_be_scored_is_refused_with_what_to_do(
    arguments: list[str], error: type[Exception], words: str
) -> None:
    with pytest.raises(error, match=words):
        score(*arguments)
