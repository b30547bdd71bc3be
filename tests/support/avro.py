"""Hypothesis strategies for the bodies of a schema document, in the codec's form."""

from decimal import Decimal
from typing import Any

from hypothesis import strategies as st

_MICROS_OF_2100 = 4_102_444_800_000_000


def bodies(node: Any) -> st.SearchStrategy[Any]:
    """Any value of one schema node: integer times, Decimal of scale 6, named tuples for unions of records."""
    if isinstance(node, list):
        records = [b for b in node if isinstance(b, dict) and b["type"] == "record"]
        if len(records) > 1:
            return st.one_of(*(st.tuples(st.just(f"tapedeck.{b['name']}"), bodies(b)) for b in records))
        return st.one_of(*map(bodies, node))
    kind = node["type"] if isinstance(node, dict) else node
    logical = node.get("logicalType") if isinstance(node, dict) else None
    match kind:
        case "record":
            return st.fixed_dictionaries({field["name"]: bodies(field["type"]) for field in node["fields"]})
        case "array":
            return st.lists(bodies(node["items"]), max_size=3)
        case "map":
            return st.dictionaries(st.text(max_size=5), bodies(node["values"]), max_size=3)
        case "enum":
            return st.sampled_from(node["symbols"])
        case "bytes" if logical == "decimal":
            return st.integers(-(10**20), 10**20).map(lambda n: Decimal(n).scaleb(-6))
        case "long" if logical:
            return st.integers(0, _MICROS_OF_2100)
        case "int":
            return st.integers(-(2**31), 2**31 - 1)
        case "long":
            return st.integers(-(2**63), 2**63 - 1)
        case "double":
            return st.floats(allow_nan=False, allow_infinity=False)
        case "boolean":
            return st.booleans()
        case "null":
            return st.none()
        case "string":
            return st.text(max_size=12)
    raise ValueError(f"no strategy for {node!r}")
