"""CONTRIBUTING's recipes name the files that an addition touches: each example is in these files alone."""

import re
from typing import NamedTuple

import pytest

from tests.support.cases import REPOSITORY
from tests.unit.house.test_house_rules import texts

MADE = ("schemas/ids.jsonl", "docs/configuration.md", "docs/explain.md", "docs/records.md", "README.md")
"""Written by a command."""
APART = (
    "tests/",
    "notebooks/",
    "deploy/connect/",
    "schemas/golden/",
    "connectors/postgres/migrations/",
    "CHANGELOG",
    "CONTRIBUTING",
)
CLOSED = ("streams/config/founding.py",)
"""Nothing is ever added there."""


class Recipe(NamedTuple):
    """One row: what is added, which files are named, and a word that stands in all of them."""

    what: str
    files: frozenset[str]
    example: str


def recipes(text: str) -> list[Recipe]:
    rows = re.findall(r"^\| (an? [^|]+) \| ([^|]*) \| ([^|]*)\| ([^|]*)\|$", text, re.MULTILINE)
    return [
        Recipe(what, frozenset(re.findall(r"`([^`]+)`", f"{edit} {add}")), example.strip(" `"))
        for what, edit, add, example in rows
    ]


def naming(word: str) -> frozenset[str]:
    """The files written by hand that have ``word``, whatever its case, or are the module of a command."""
    found = {name for name, text in texts() if _is_written(name) and word in text.lower()}
    module, _, is_command = word.partition(":")
    return frozenset(found | ({f"tape/cli/{module}.py"} if is_command else set()))


def _is_written(name: str) -> bool:
    return name.endswith((".py", ".md", ".avsc", ".sql")) and not (
        name in (*MADE, *CLOSED) or name.startswith(APART)
    )


RECIPES = recipes((REPOSITORY / "CONTRIBUTING.md").read_text())


def test_the_page_has_the_recipes() -> None:
    assert {each.what for each in RECIPES} == {
        "a feature column", "a gate", "a reason of a stage", "a parameter", "a stored table", "a command",
    }  # fmt: skip


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda recipe: recipe.what)
def test_a_recipe_names_the_files_of_its_example(recipe: Recipe) -> None:
    assert all((REPOSITORY / name).is_file() for name in recipe.files)
    if recipe.example:
        assert naming(recipe.example.lower()) == recipe.files


def test_a_recipe_that_misses_a_file_is_found() -> None:
    (recipe,) = recipes("| a gate | `streams/stages/account/rules/gates.py` | | `price_drift` |")
    assert recipe.files < naming(recipe.example)
