"""The compatibility gate: the id log passes, and every rule fires on a change made to break it."""

import copy

import pytest

from tapedeck.schemas import compat
from tapedeck.schemas.codec import load_schema
from tapedeck.schemas.ids import REFUSED_WHEN_NEWER
from tapedeck.topics.catalogue import CATALOGUE, Cleanup

MICROS = {"type": "long", "logicalType": "timestamp-micros"}
MONEY = {"type": "bytes", "logicalType": "decimal", "precision": 28, "scale": 6}
SIDE = {"type": "enum", "name": "Side", "symbols": ["BUY", "SELL"]}
OLD = {
    "type": "record",
    "name": "Sample",
    "namespace": "tapedeck",
    "fields": [
        {"name": "at", "type": MICROS},
        {"name": "price", "type": ["null", MONEY], "default": None},
        {"name": "side", "type": SIDE},
        {"name": "lots", "type": {"type": "array", "items": MONEY}},
    ],
}


def changed(change):
    new = copy.deepcopy(OLD)
    change(new)
    return new


def _set(document, field, **values):
    found = next(f for f in document["fields"] if f["name"] == field)["type"]
    (found[1] if isinstance(found, list) else found).update(values)


OWN_RULES = [
    ("logicalType", lambda d: _set(d, "at", logicalType="timestamp-millis")),
    ("logicalType", lambda d: d["fields"][0].update(type="long")),
    ("scale", lambda d: _set(d, "price", scale=4)),
    ("precision", lambda d: _set(d, "price", precision=38)),
    ("scale", lambda d: d["fields"][3]["type"]["items"].update(scale=2)),
    ("enum order", lambda d: _set(d, "side", symbols=["SELL", "BUY"])),
    ("name", lambda d: d["fields"][0].update(name="time", aliases=["at"])),
    ("name", lambda d: d.update(namespace="elsewhere")),
]


def test_the_id_log_holds_only_compatible_versions():
    assert compat.check_log() == []


@pytest.mark.parametrize("rule, change", OWN_RULES)
def test_an_own_rule_fires_where_the_generic_checker_is_silent(rule, change):
    new = changed(change)
    assert compat.readable(reader=new, writer=OLD) == []
    assert rule in {fault.rule for fault in compat.own_rules(OLD, new)}


@pytest.mark.parametrize(
    "change",
    [
        lambda d: d["fields"].append({"name": "note", "type": ["null", "string"], "default": None}),
        lambda d: d.update(doc="said better"),
        lambda d: None,
    ],
)
def test_a_new_field_with_a_default_or_a_better_doc_passes_both_ways(change):
    assert compat.check_history("proposals", [OLD, changed(change)]) == []


def test_a_new_enum_symbol_at_the_end_passes_for_facts_and_fails_for_proposals():
    new = changed(lambda d: _set(d, "side", symbols=["BUY", "SELL", "SELL_SHORT"]))
    for name in ("bars", *REFUSED_WHEN_NEWER):
        assert compat.check_history(name, [OLD, new]) == []
    assert [fault.rule for fault in compat.check_history("proposals", [OLD, new])] == ["FORWARD"]


def test_a_new_field_without_a_default_fails_for_facts():
    new = changed(lambda d: d["fields"].append({"name": "note", "type": "string"}))
    assert {fault.rule for fault in compat.check_history("bars", [OLD, new])} == {"BACKWARD"}


def test_a_removed_field_without_a_default_fails_for_proposals_only():
    new = changed(lambda d: d["fields"].pop())
    assert compat.check_history("bars", [OLD, new]) == []
    assert {fault.rule for fault in compat.check_history("proposals", [OLD, new])} == {"FORWARD"}


def test_a_change_is_held_against_every_older_version_not_only_the_last():
    second = changed(
        lambda d: d["fields"].append({"name": "note", "type": ["null", "string"], "default": None})
    )
    third = copy.deepcopy(second)
    third["fields"][-1] = {"name": "note", "type": "string"}
    faults = compat.check_history("bars", [OLD, second, third])
    assert any("note" in fault.what or "note" in fault.path for fault in faults)


def test_every_compacted_topic_but_positions_and_the_proposals_are_held_to_full_compatibility():
    state = {t.schema for t in CATALOGUE if t.cleanup is Cleanup.COMPACT and t.schema}
    assert state - REFUSED_WHEN_NEWER | {"proposals"} == compat.FULL
    assert {"account_inbox", "orders", "positions"} == REFUSED_WHEN_NEWER


def test_no_schema_refers_to_a_record_by_name_which_the_guard_would_not_follow():
    primitive = {"null", "boolean", "int", "long", "float", "double", "bytes", "string"}

    def names_used(node):
        if isinstance(node, list):
            return set().union(*map(names_used, node))
        if isinstance(node, dict):
            inner = [f["type"] for f in node.get("fields", ())] + [node.get("items"), node.get("values")]
            return set().union(*(names_used(n) for n in inner if n is not None))
        return {node} - primitive

    for topic in CATALOGUE:
        if topic.schema:
            assert names_used(load_schema(topic.schema)) == set()
