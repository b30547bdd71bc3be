"""``tape link`` and ``tape step links``."""

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from tapedeck.schemas.errors import Fatal
from tapedeck.tape.cli.main import app
from tests.unit.stages.test_links import ASSETS, VECTORS, told
from tests.unit.tape.test_step_cli import step


def printed(*words: str, given: str | None = None) -> str:
    result = CliRunner().invoke(app, ["link", *words], input=given)
    if result.exception is not None:
        raise result.exception
    return result.stdout


def test_each_symbol_is_printed_with_its_matches_and_what_is_under_the_threshold_apart() -> None:
    assert printed("Nvidia (NVDA)  up 12%, Meta flat", "--provider", "NVDA,ZZZZ") == (
        "NVDA   0.99  ALIAS+BARE+PROVIDER\n"
        "  0.90  0-6       NAME CUE  Nvidia\n"
        "  0.95  8-12      SYMBOL CUE  NVDA\n"
        "  0.90            PROVIDER_TAG\n"
        "META   0.60  ALIAS\n"
        "  0.60  23-27     ORDINARY_NAME CUE  Meta\n"
    )
    assert printed("Meta") == (
        "no symbol\n\nunder 0.50, not linked:\nMETA   0.40  ALIAS\n  0.40  0-4       ORDINARY_NAME  Meta\n"
    )


def test_a_text_without_a_symbol_and_a_list_are_told() -> None:
    assert printed("hello") == "no symbol\n"
    assert printed("", "--provider", "") == "no symbol\n"
    many = "$NVDA $AMD $META $MSFT $CRM $ORCL $JPM $UNH $LLY"
    assert printed(many).endswith("LIST_POST: 9 symbols; no sentiment comes of a list\n")


def test_json_has_the_same_with_the_places_in_the_text_as_given() -> None:
    text = "see <b>Eli  Lilly</b>"
    found = json.loads(printed(text, "--json"))
    (match,) = found["links"][0].pop("matches")
    assert found == {
        "links": [{"symbol": "LLY", "confidence": 0.7, "kinds": ["ALIAS"]}],
        "below": [],
        "list_post": False,
    }
    assert text[match.pop("start") : match.pop("end")] == "Eli  Lilly"
    assert match == {
        "kind": "ALIAS", "rule": "NAME", "effects": [], "confidence": 0.7, "text": "Eli Lilly",
    }  # fmt: skip


def test_the_text_may_come_from_standard_input() -> None:
    assert printed("-", given="$NVDA\nrises\n").startswith("NVDA   0.95  CASHTAG\n")


def test_assets_and_configuration_may_be_given(tmp_path: Path) -> None:
    assets, config = tmp_path / "assets.txt", tmp_path / "tape.toml"
    assets.write_text("ZZZZ\n")
    config.write_text("[link]\nmin_confidence = 0.8\n")
    assert printed("$ZZZZ $NVDA", "--assets", str(assets)).startswith("ZZZZ   0.95")
    assert "NVDA" not in printed("$ZZZZ $NVDA", "--assets", str(assets))
    assert printed("NVDA", "--config", str(config)).startswith("no symbol\n\nunder 0.80")
    with pytest.raises(Fatal, match=r"none\.txt"):
        printed("NVDA", "--assets", str(tmp_path / "none.txt"))


def as_told(output: dict[str, Any]) -> str:
    return ", ".join(
        f"{each['symbol']} {each['confidence']:.2f} {'+'.join(each['kinds'])}" for each in output["links"]
    )


def test_every_vector_through_the_step() -> None:
    lines = [{"text": text, "assets": sorted(ASSETS)} for text, _ in VECTORS.values()]
    lines.append({"text": "Chip makers rally", "provider": ["NVDA", "ZZZZ"], "assets": sorted(ASSETS)})
    outputs, code = step("links", "\n".join(map(json.dumps, lines)))
    assert code == 0
    assert [as_told(each) for each in outputs] == [
        *(wanted for _, wanted in VECTORS.values()),
        "NVDA 0.90 PROVIDER",
    ]
    assert all(set(each) == {"links", "list_post"} for each in outputs)


def test_a_step_without_assets_takes_the_known_ones() -> None:
    line = {"text": "JPMorgan and $ZZZZ", "provider": None}
    (output,), _ = step("links", json.dumps(line))
    assert as_told(output) == "JPM 0.70 ALIAS" and told("JPMorgan") == ""


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ({}, "text is missing"),
        ({"text": None}, "text is missing"),
        ({"text": "x", "provider": "NVDA"}, 'got \'NVDA\'; write it as ["NVDA", "AMD"]'),
        ({"text": "x", "assets": [1]}, "assets is not a list of symbols"),
        ({"text": "x", "asset": []}, "the nearest is 'assets'"),
    ],
)  # fmt: skip
def test_a_bad_line_of_the_step_is_named(line: dict[str, Any], words: str) -> None:
    outputs, code = step("links", json.dumps(line) + '\n{"text": ""}')
    assert words in outputs[0]["error"] and code == 1
    assert outputs[1] == {"links": [], "list_post": False}
