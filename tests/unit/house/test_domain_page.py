"""docs/domain.md states the rules that the code has: reasons, parameters, gates, tiers, places, links."""

import re
from decimal import Decimal

import pytest

from tapedeck.schemas.codec import load_schema
from tapedeck.streams.config.accounts import Account, tier_defaults
from tapedeck.streams.config.document import Config
from tapedeck.streams.config.groups import Group
from tapedeck.streams.stages.account.rules.gates import GATES
from tapedeck.streams.stages.links.aliases import ORDINARY
from tapedeck.streams.stages.links.matches import BASES
from tapedeck.streams.stages.links.rule import Effect
from tapedeck.streams.stages.links.words import AMBIGUOUS, CASHTAG_ONLY, CUES, STRONG_CUES
from tapedeck.streams.stages.signals.rule import ENTRY_CHECKS
from tapedeck.streams.stages.topology import TOPOLOGY
from tapedeck.streams.topology import definition_of
from tapedeck.tape.why.words import ON_ARRIVAL
from tapedeck.topics.catalogue import CATALOGUE
from tests.support.cases import REPOSITORY

PAGE = "docs/domain.md"
TEXT = (REPOSITORY / PAGE).read_text()
SECTIONS = {
    "stories": ("Versions of items",),
    "post_links": ("Versions of items",),
    "mentions": ("Mentions",),
    "surges": ("Surges",),
    "features": ("Bars",),
    "sentiment_windows": ("Sentiment windows",),
    "scores": ("Watch score",),
    "watchlist": ("Watchlist",),
    "signals": ("Signals", "Gap fade"),
    "account: verdict": ("Verdicts",),
    "account: gates": ("Risk gates",),
    "account: contract": ("Option contracts",),
    "account: size": ("Sizing",),
    "account: orders": ("Orders",),
    "account: exits": ("Exits",),
    "account: executions": ("Positions", "Reconciliation"),
    "account: inbox": ("Account inbox",),
}
"""Where the page explains the reasons of each part of the pipeline."""


def sections(text: str) -> dict[str, str]:
    """The text below each heading of the second level, by heading."""
    _, *parts = re.split(r"^## ", text, flags=re.MULTILINE)
    return {head: body for head, _, body in (part.partition("\n") for part in parts)}


def unexplained(text: str) -> list[str]:
    """Reasons that records of the shipped stages have and their sections do not, as "part: reason"."""
    found = sections(text)
    missing = []
    for spec in TOPOLOGY:
        for each in definition_of(spec).reasons:
            if not each.stored:
                continue  # what `tape why` says of a minute without a record: docs/explain.md
            part = f"{spec.name}: {each.part}" if each.part else spec.name
            there = " ".join(found.get(name, "") for name in SECTIONS[part])
            missing += [f"{part}: {reason}" for reason in each.enum if f"`{reason}`" not in there]
    missing += [f"funnel: {each}" for each in ON_ARRIVAL.enum if f"`{each}`" not in found.get("Funnel", "")]
    return missing


def known_names() -> set[str]:
    """``group.parameter``, ``topic.field`` and the topics with a dot in their name."""
    names = {topic.name for topic in CATALOGUE}
    for topic in CATALOGUE:
        if topic.schema is not None:
            names |= {f"{topic.name}.{field['name']}" for field in load_schema(topic.schema)["fields"]}
    for group in Config.model_fields:
        if isinstance(model := getattr(Config(), group), Group):
            names |= {f"{group}.{name}" for name in type(model).model_fields}
    return names | {f"accounts.{name}" for name in Account.model_fields}


def unknown_names(text: str) -> set[str]:
    """Names in code spelling that are neither a parameter nor a field of a topic."""
    return set(re.findall(r"`([a-z_]+\.[a-z0-9_]+)`", text)) - known_names()


def lost_places(text: str) -> set[str]:
    """Files and folders in code spelling that are not there."""
    return {
        name for name in re.findall(r"`([a-z_]+/[a-z0-9_/.]+)`", text) if not (REPOSITORY / name).exists()
    }


def anchors(text: str) -> set[str]:
    """The anchors of a page's headings, as GitHub makes them."""
    heads = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", head.lower()).replace(" ", "-") for head in heads}


def dead_links(text: str) -> set[str]:
    """Links of the page to headings that are not there, in itself or in a page beside it."""
    dead = set()
    for name, anchor in re.findall(r"\]\(([a-z_]*(?:\.md)?)#([\w-]+)\)", text):
        page = (REPOSITORY / "docs" / name).read_text() if name else text
        if anchor not in anchors(page):
            dead.add(f"{name}#{anchor}")
    return dead


def rows(text: str) -> list[list[str]]:
    """The cells of every table row."""
    lines = [line for line in text.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines]


def test_every_reason_of_the_shipped_stages_is_explained_in_its_section() -> None:
    assert unexplained(TEXT) == []


def test_every_parameter_and_field_that_is_named_exists() -> None:
    assert unknown_names(TEXT) == set()


def test_every_place_and_every_anchor_exists() -> None:
    assert (lost_places(TEXT), dead_links(TEXT)) == (set(), set())


def test_code_that_points_to_the_page_names_a_heading_of_it() -> None:
    heads, pointing = anchors(TEXT), 0
    for room in ("streams", "connectors", "agents", "tape", "topics", "schemas"):
        for path in (REPOSITORY / room).rglob("*.py"):
            named = re.findall(rf"{re.escape(PAGE)}#([\w-]+)", path.read_text())
            assert set(named) <= heads, path
            pointing += len(named)
    assert pointing


def test_the_gates_stand_in_their_order_with_their_mark() -> None:
    told = [row[:2] for row in rows(sections(TEXT)["Risk gates"]) if row[0].lstrip("| ")[:1].isdigit()]
    wanted = [
        [f"{number} C" if gate.on_close else str(number), f"`{gate.name}`"]
        for number, gate in enumerate(GATES, start=1)
    ]
    assert told == wanted


def test_the_entry_checks_stand_in_their_order() -> None:
    part = sections(TEXT)["Signals"].split("### ")[1]
    told = [row[0].strip("`") for row in rows(part) if row[0].startswith("`")]
    assert told == ["RULE_ERROR", *map(str, ENTRY_CHECKS)]


@pytest.mark.parametrize(("tier", "column"), [("tiny", 1), ("small", 2), ("medium", 3), ("large", 4)])
def test_the_tiers_have_the_limits_that_the_code_has(tier: str, column: int) -> None:
    table = [row for row in rows(sections(TEXT)["Accounts"]) if row[0].startswith("`") and len(row) == 5]
    told = {row[0].split("`")[1]: Decimal(row[column]) for row in table if row[1][0].isdigit()}
    assert told == {name: Decimal(value) for name, value in tier_defaults(tier).items()}


def test_the_rules_and_word_lists_of_links_are_those_of_the_code() -> None:
    part = sections(TEXT)["Ticker links"]
    told = {row[0].strip("`"): row[2].split(":")[0] for row in rows(part) if row[0].strip("`") in BASES}
    assert told == {rule: f"{base:.2f}" for rule, base in BASES.items()}
    assert all(f"| `{effect}` |" in part for effect in Effect)
    prose = " ".join(part.split())
    listed = dict(re.findall(r"- ([A-Z][a-z -]+): ([^.]+)\.", prose))
    assert listed == {
        "Cashtag-only words": " ".join(sorted(CASHTAG_ONLY)),
        "Ambiguous words": " ".join(sorted(AMBIGUOUS)),
        "Strong cues": " ".join(sorted(STRONG_CUES)),
        "Other cues": " ".join(sorted(CUES - STRONG_CUES)),
        "Ordinary names": " ".join(sorted(ORDINARY)),
    }


def test_the_checks_fire() -> None:
    made_up = "# The rules\n\n## Bars\n\n`BAD_BAR` `signal.swing_max` `bars.late` `orders.state`\n"
    made_up += "`streams/nowhere.py`, [there](#there), [bars](#bars), [words](explain.md#no-such-heading)\n"
    missing = unexplained(made_up)
    assert "features: BAD_BAR" not in missing
    assert {"features: DUPLICATE_BAR", "account: gates: STREAM_DOWN", "funnel: LATE"} <= set(missing)
    moved = unexplained(TEXT.replace("## Watch score", "## Scores"))
    assert moved == ["scores: FEED_NOT_SELECTED", "scores: DUPLICATE", "scores: SUPERSEDED"]
    assert unknown_names(made_up) == {"signal.swing_max"}
    assert lost_places(made_up) == {"streams/nowhere.py"}
    assert dead_links(made_up) == {"#there", "explain.md#no-such-heading"}
