"""The documentation says what the code says."""

import re
from pathlib import Path

import pytest
from typer.testing import CliRunner

from tapedeck.streams.stages.account.rules.gate_reasons import GateReason
from tapedeck.streams.stages.signals.reasons import SignalReason
from tapedeck.streams.stages.topology import TOPOLOGY
from tapedeck.tape.cli.main import COMMANDS, app
from tapedeck.tape.docs import DOCUMENTS, render, rooms
from tapedeck.tape.why.words import reasons_of
from tapedeck.topics.catalogue import CATALOGUE
from tests.support.cases import REPOSITORY

WRITTEN = (
    "README.md",
    "CONTRIBUTING.md",
    "docs/configuration.md",
    "docs/domain.md",
    "docs/operations.md",
    "docs/records.md",
    "docs/exchange.md",
    "docs/explain.md",
    "docs/live.md",
    "docs/news.md",
    "docs/outlook.md",
    "docs/rebuild.md",
    "docs/tap.md",
    "docs/files.md",
    "docs/replay.md",
    "docs/backtest.md",
    "docs/whatif.md",
    "docs/stages.md",
    "docs/your-own-stage.md",
    "docs/runbook.md",
    "docs/exchange.md",
)


@pytest.mark.parametrize("name", DOCUMENTS)
def test_generated_parts_are_current(name: str) -> None:
    text = (REPOSITORY / name).read_text()
    assert render(text, TOPOLOGY) == text, "run python -m tapedeck.tape.docs"


def test_every_package_says_what_is_in_it() -> None:
    told = dict(rooms())
    assert len(told) > 40
    assert [name for name, about in told.items() if not about.endswith(".")] == []


def test_a_package_without_a_docstring_is_found(tmp_path: Path) -> None:
    (tmp_path / "streams").mkdir()
    (tmp_path / "streams" / "__init__.py").touch()
    assert list(rooms(tmp_path)) == [("streams", "")]


def test_the_readme_has_the_topology_as_the_command_prints_it() -> None:
    printed = CliRunner().invoke(app, ["topology", "--mermaid"]).output
    assert f"```mermaid\n{printed}```" in (REPOSITORY / "README.md").read_text()


def test_every_topic_and_every_reason_is_documented() -> None:
    text = (REPOSITORY / "docs/records.md").read_text()
    for topic in CATALOGUE:
        assert f"`{topic.name}`" in text
    for reason in (*SignalReason, *GateReason):
        assert f"`{reason}`" in text
    enums = [each.enum for _, each in reasons_of(TOPOLOGY)]
    assert len(set(enums)) == len(enums)


@pytest.mark.parametrize("name", WRITTEN)
def test_only_commands_that_exist_are_named(name: str) -> None:
    text = (REPOSITORY / name).read_text()
    named = set(re.findall(r"(?:`|^    )tape ([a-z]+)", text, re.MULTILINE))
    assert named <= set(COMMANDS), named - set(COMMANDS)


@pytest.mark.parametrize("name", WRITTEN)
def test_links_lead_to_files(name: str) -> None:
    path = REPOSITORY / name
    for target in re.findall(r"\]\(([^)#]+)\)", path.read_text()):
        assert (path.parent / target).exists(), target


def test_an_unknown_generated_part_is_refused() -> None:
    with pytest.raises(KeyError):
        render("<!-- generated: nothing -->\n<!-- end -->", TOPOLOGY)


def test_hand_written_text_around_a_generated_part_is_kept() -> None:
    text = "before\n<!-- generated: gates -->\nyesterday\n<!-- end -->\nafter\n"
    made = render(text, TOPOLOGY)
    assert made.startswith("before\n") and made.endswith("<!-- end -->\nafter\n") and "yesterday" not in made
    assert made.splitlines()[2].startswith("| #")
