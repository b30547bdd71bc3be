"""`tape step stories`, `sentiment_windows` and `surge`: their own examples, and bad lines in their place."""

import json
import re
from importlib import import_module
from typing import Any

import pytest
from typer.testing import CliRunner

from tapedeck.tape.cli import main
from tests.unit.tape.test_step_cli import step

STAGES = ("stories", "sentiment_windows", "surge")


def objects(text: str) -> list[Any]:
    """The JSON objects in a help text, one after the other."""
    found, decoder, at = [], json.JSONDecoder(), 0
    while (match := re.compile(r"\{").search(text, at)) is not None:
        value, at = decoder.raw_decode(text, match.start())
        found.append(value)
    return found


@pytest.mark.parametrize("stage", STAGES)
def test_the_example_gives_what_the_help_says(stage: str) -> None:
    text = import_module(f"tapedeck.tape.step.{stage}").HELP
    given, expected = map(objects, text.split("Example:")[1].split("gives"))
    assert given
    assert step(stage, "\n".join(map(json.dumps, given))) == (expected, 0)


AT = "2026-01-29T15:00:00Z"
ITEM = {"event_time": AT, "score": 0.5, "confidence": 0.9, "label": "POSITIVE", "scope": "news"}
BAD = [
    ("stories", {"uid": "a", "event_time": "2026-01-29T15:00:00", "title": "x"}, "event_time"),
    ("stories", {"uid": "a", "event_time": AT}, "title is missing"),
    ("stories", {"uid": "a", "event_time": AT, "titel": "x"}, "nearest is 'title'"),
    ("sentiment_windows", {"t": AT, "items": [ITEM | {"score": 1.5}]}, "items.0.score"),
    ("sentiment_windows", {"t": AT, "items": [ITEM | {"label": "GOOD"}]}, "items.0.label"),
    ("sentiment_windows", {"t": AT, "items": [ITEM | {"scope": "radio"}]}, "items.0.scope"),
    ("sentiment_windows", {"t": AT, "items": [ITEM | {"event_time": "yesterday"}]}, "items.0.event_time"),
    ("surge", {"k": -1, "authors": 0, "history": []}, "k:"),
    ("surge", {"k": 1, "authors": 0, "history": [1, "2"]}, "history.1"),
    ("surge", {"k": 1, "authors": 0}, "history is missing"),
    ("surge", {"k": None, "authors": 0, "history": []}, "k is null"),
    ("sentiment_windows", {"t": AT, "items": None}, "items is null"),
    ("sentiment_windows", {"t": AT, "items": [3]}, "items.0 is not an object; got 3"),
]


@pytest.mark.parametrize("stage, line, named", BAD)
def test_a_bad_line_is_named_in_its_place(stage: str, line: dict[str, Any], named: str) -> None:
    good = {
        "stories": {"uid": "z", "event_time": AT, "title": "t"},
        "surge": {"k": 1, "authors": 1, "history": []},
    }
    after = good.get(stage, {"t": AT, "items": []})
    (error, fine), code = step(stage, f"{json.dumps(line)}\n{json.dumps(after)}")
    assert named in error["error"]
    assert "error" not in fine
    assert code == 1


@pytest.mark.parametrize("stage", ["links", *STAGES])
@pytest.mark.parametrize(
    ("line", "named"),
    [
        ("null", "line 1 is not an object; got null"),
        ("[" + "1, " * 300_000 + "1]", "..."),
        ("[" * 100_000, "line 1 is not JSON"),
        ("not json", "line 1 is not JSON"),
        ("\udcff\udcfe", "line 1 is not JSON"),
    ],
    ids=["null", "a megabyte", "deep", "words", "bytes"],
)
def test_a_line_of_anything_is_an_error_of_one_short_line(stage: str, line: str, named: str) -> None:
    given = f"{line}\n".encode(errors="surrogateescape")
    found = CliRunner().invoke(main.app, ["step", stage, "--in", "-"], input=given)
    (error,) = map(json.loads, found.stdout.splitlines())
    assert named in error["error"] and len(error["error"]) < 250
    assert found.exit_code == 1 and isinstance(found.exception, SystemExit)


@pytest.mark.parametrize("stage", ["links", *STAGES])
def test_an_empty_input_gives_nothing(stage: str) -> None:
    assert step(stage, "\n \n") == ([], 0)


def test_the_windows_differ_by_confidence_scope_and_length() -> None:
    items = [
        ITEM | {"confidence": 0.6},
        ITEM | {"scope": "social"},
        ITEM | {"event_time": "2026-01-29T14:15:00Z"},
    ]
    (found,), _ = step("sentiment_windows", json.dumps({"t": AT, "items": items}))
    assert found["window_30"]["n"] == 0
    assert found["window_60"] == {"n": 2, "avg": 0.5, "pos": 2, "neg": 0, "neu": 0, "age_s": 0.0}
