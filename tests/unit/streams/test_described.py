"""Every parameter says what it is, and a document with these comments is the same document."""

from typing import Annotated

import pytest
from pydantic import Field

from tapedeck.connectors.config_file import load
from tapedeck.streams.config.accounts import Account
from tapedeck.streams.config.deployment import Deployment
from tapedeck.streams.config.described import TABLES, Parameter, commented, group_of, parameters, scalars
from tapedeck.streams.config.document import Config
from tapedeck.streams.config.examples import EXAMPLE_ACCOUNTS
from tapedeck.streams.config.groups import Group

GROUPS = [group_of(name) for name in TABLES]


@pytest.mark.parametrize("group", [*GROUPS, Deployment], ids=lambda group: group.__name__)
def test_every_parameter_has_a_meaning_and_a_type(group: type[Group]) -> None:
    found = list(parameters(group))
    assert [each.name for each in found] == list(group.model_fields)
    assert [each.name for each in found if not (each.meaning and each.kind)] == []


def test_a_parameter_without_a_docstring_has_no_meaning() -> None:
    class Bare(Group):
        told: Annotated[int, Field(ge=1, gt=0, le=9, multiple_of=3)] = 3
        """Bars."""
        untold: tuple[Annotated[float, Field(ge=0)], ...] = (0.5,)

    assert list(parameters(Bare)) == [
        Parameter("told", "whole number", "> 0, ≤ 9, multiple of 3", "3", "Bars"),
        Parameter("untold", "list of number", "≥ 0", "[0.5]", ""),
    ]


def test_a_commented_document_is_the_same_document(tmp_path) -> None:
    config = Config(accounts=EXAMPLE_ACCOUNTS)
    text = commented(config.to_toml())
    path = tmp_path / "tape.toml"
    path.write_text(text)
    assert load(path) == config
    told = [line for line in text.splitlines() if line.startswith("# ")]
    fields = [field for group in GROUPS for field in group.model_fields.values()]
    given = [each for each in fields if each.default is not None]
    assert len(told) == len(given) + len(list(scalars())), "the second account repeats nothing"
    assert "# Whether accounts in mode LIVE may trade" in text and "\nlive_trading_enabled = false" in text
    assert f"# {next(parameters(Account)).meaning} (text)\naccount_id" in text
