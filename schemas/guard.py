"""What fastavro accepts and we do not: NaN, infinity, a fraction in an integer, a nameless union record.

``compile_guard`` turns a schema into a test that is cheap on the hot path: it only says *whether* a body is
suspect. ``explain`` then walks the body and names the field. It is also used where the encoder failed.
"""

from collections.abc import Callable, Mapping
from decimal import Decimal
from functools import reduce
from math import isfinite
from numbers import Integral, Real
from operator import itemgetter
from typing import Any, NamedTuple

Guard = Callable[[Any], bool]
"""True for a suspect value. May raise TypeError, KeyError or AttributeError for a misshapen value."""


class Fault(NamedTuple):
    """One field that cannot be written, in words."""

    path: str
    value: object
    what: str
    reason: str = "NOT_ENCODABLE"


def is_record_union(node: Any) -> bool:
    """True for a union of several records, whose values carry the name of their record."""
    return isinstance(node, list) and sum(_kind(branch) == "record" for branch in node) > 1


def has_record_union(node: Any) -> bool:
    """True if ``node`` or anything in it is a union of several records."""
    if isinstance(node, list):
        return is_record_union(node) or any(map(has_record_union, node))
    if isinstance(node, dict):
        inner = [field["type"] for field in node.get("fields", ())] + [node.get("items"), node.get("values")]
        return any(map(has_record_union, inner))
    return False


def compile_guard(node: Any, *, writing: bool) -> Guard | None:
    """The test of one schema node, or None if nothing in it can be wrong.

    A decoded value always has whole integers, so only a writer's guard checks them.
    """
    if isinstance(node, list):
        return _union_guard(node, writing)
    match _kind(node):
        case "record":
            return _record_guard(node, writing)
        case "array":
            items = compile_guard(node["items"], writing=writing)
            return (lambda value: any(map(items, value))) if items else None
        case "map":
            values = compile_guard(node["values"], writing=writing)
            return (lambda value: any(map(values, value.values()))) if values else None
        case "double" | "float":
            return lambda value: not isfinite(value)
    return None


def _union_guard(branches: list[Any], writing: bool) -> Guard | None:
    inner = [compile_guard(branch, writing=writing) for branch in branches]
    if is_record_union(branches):
        guards = {
            _full_name(branch): guard
            for branch, guard in zip(branches, inner, strict=True)
            if branch != "null"
        }

        def named(value: Any) -> bool:
            if type(value) is not tuple:
                return value is not None or "null" not in branches
            guard = guards[value[0]]
            return guard is not None and guard(value[1])

        return named
    guard = next((found for found in inner if found), None)
    return (lambda value: value is not None and guard(value)) if guard else None


def _record_guard(node: Mapping[str, Any], writing: bool) -> Guard | None:
    doubles, wholes, nested = [], [], []
    for field in node["fields"]:
        if _is_one_of(field["type"], "double"):
            doubles.append(field["name"])
        elif writing and _is_one_of(field["type"], "int", "long"):
            wholes.append(field["name"])
        elif (inner := compile_guard(field["type"], writing=writing)) is not None:
            nested.append((field["name"], inner))
    # One sum in C over all fields of a kind. NaN and infinity always survive a sum, so a finite one clears
    # all doubles; a float among integers (which fastavro would truncate) makes the sum a float.
    # filter(None) drops nulls, and zeros with them.
    tests: list[Guard] = []
    if doubles:
        doubles_of = _values_of(doubles)
        tests.append(lambda body: not isfinite(sum(filter(None, doubles_of(body)))))
    if wholes:
        wholes_of = _values_of(wholes)
        tests.append(lambda body: type(sum(filter(None, wholes_of(body)))) is not int)
    if nested:
        tests.append(lambda body: any(guard(body[name]) for name, guard in nested))
    return reduce(_either, tests) if tests else None


def _either(first: Guard, second: Guard) -> Guard:
    return lambda body: first(body) or second(body)


def _values_of(names: list[str]) -> Callable[[Any], tuple[Any, ...]]:
    # itemgetter with a single name returns the value, not a tuple.
    return itemgetter(*names) if len(names) > 1 else lambda body: (body[names[0]],)


def explain(node: Any, value: Any, path: str) -> Fault | None:
    """The first field of ``value`` that does not fit ``node``, or None if all fit."""
    if isinstance(node, list):
        return _explain_union(node, value, path)
    match _kind(node):
        case "record":
            return _explain_record(node, value, path)
        case "array" if isinstance(value, list | tuple):
            return _first(explain(node["items"], item, f"{path}[{i}]") for i, item in enumerate(value))
        case "map" if isinstance(value, dict):
            return _first(explain(node["values"], item, f"{path}[{key}]") for key, item in value.items())
        case "enum":
            fits, wanted = value in node["symbols"], f"one of {', '.join(node['symbols'])}"
        case "bytes" if isinstance(node, dict) and node.get("logicalType") == "decimal":
            return _explain_decimal(node, value, path)
        case "double" | "float":
            fits, wanted = isinstance(value, Real) and not isinstance(value, bool), "a number"
            if fits and not isfinite(value):
                return Fault(path, value, "is not a finite number; unknown is null", "NOT_FINITE")
        case kind:
            python_type, wanted = _PYTHON.get(kind, (object, kind))
            fits = isinstance(value, python_type) and (kind == "boolean" or not isinstance(value, bool))
    return None if fits else Fault(path, value, f"is not {wanted}")


_PYTHON: dict[str, tuple[Any, str]] = {
    "null": (type(None), "null"),
    "boolean": (bool, "a boolean"),
    "int": (Integral, "a whole number"),
    "long": (Integral, "a whole number"),
    "string": (str, "a text"),
    "bytes": (bytes, "bytes"),
    "array": (list, "a list"),
    "map": (dict, "a mapping"),
}


def _explain_union(branches: list[Any], value: Any, path: str) -> Fault | None:
    if value is None and "null" in branches:
        return None
    others = [branch for branch in branches if branch != "null"]
    if is_record_union(branches):
        if not (isinstance(value, tuple) and len(value) == 2):
            return Fault(path, value, 'is not a tuple ("tapedeck.RecordName", {...})')
        by_name = {_full_name(branch): branch for branch in others}
        if value[0] not in by_name:
            return Fault(path, value[0], f"is not one of {', '.join(sorted(by_name))}")
        return explain(by_name[value[0]], value[1], path)
    faults = [explain(branch, value, path) for branch in others]
    return None if None in faults else faults[0]


def _explain_record(node: Mapping[str, Any], value: Any, path: str) -> Fault | None:
    if not isinstance(value, dict):
        return Fault(path, value, f"is not a {node['name']} record")
    known = {field["name"] for field in node["fields"]}
    if unknown := sorted(map(str, set(value) - known)):
        return Fault(f"{path}.{unknown[0]}", value[unknown[0]], "is not a field of the schema")
    for field in node["fields"]:
        at = f"{path}.{field['name']}"
        if field["name"] not in value:
            if "default" not in field:
                return Fault(at, None, "is missing and has no default")
        elif fault := explain(field["type"], value[field["name"]], at):
            return fault
    return None


def _explain_decimal(node: Mapping[str, Any], value: Any, path: str) -> Fault | None:
    if not isinstance(value, Decimal):
        return Fault(path, value, "is not a Decimal")
    if not value.is_finite():
        return Fault(path, value, "is not a finite number; unknown is null", "NOT_FINITE")
    _, digits, exponent = value.as_tuple()
    if isinstance(exponent, int) and -exponent > node["scale"]:
        return Fault(path, value, f"has more than {node['scale']} decimal places; round it on purpose before")
    if len(digits) > node["precision"]:
        return Fault(path, value, f"has more than {node['precision']} digits")
    return None


def _first(faults: Any) -> Fault | None:
    return next((fault for fault in faults if fault is not None), None)


def _is_one_of(node: Any, *kinds: str) -> bool:
    return node in kinds or (
        isinstance(node, list) and len(node) == 2 and node[0] == "null" and node[1] in kinds
    )


def _kind(node: Any) -> str:
    kind = node["type"] if isinstance(node, dict) else node
    return kind if isinstance(kind, str) else "union"


def _full_name(node: Mapping[str, Any]) -> str:
    name: str = node["name"]
    return name if "." in name else f"{node['namespace']}.{name}" if "namespace" in node else name
