"""Writes a document of dicts, lists and plain values as YAML: the same text for the same document."""

import json
import re
from collections.abc import Iterator
from typing import Any

_PLAIN = re.compile(r"[A-Za-z_./][A-Za-z0-9_./-]*")
_WORDS = {"null", "true", "false", "yes", "no", "on", "off", "y", "n"}


def as_yaml(document: dict[str, Any]) -> str:
    """The document as block YAML, texts quoted where another reader could take them for something else."""
    return "\n".join(_mapping(document, "")) + "\n"


def _mapping(values: dict[str, Any], indent: str) -> Iterator[str]:
    for name, value in values.items():
        yield from _entry(f"{indent}{_text(name)}:", value, indent + "  ")


def _entry(head: str, value: Any, inner: str) -> Iterator[str]:
    if isinstance(value, dict) and value:
        yield head
        yield from _mapping(value, inner)
    elif isinstance(value, list) and value:
        if all(isinstance(each, str | int) for each in value):
            yield f"{head} [{', '.join(_text(each) for each in value)}]"
            return
        yield head
        for each in value:
            first, *rest = _mapping(each, inner + "  ")
            yield f"{inner}- {first.lstrip()}"
            yield from rest
    else:
        yield f"{head} {_text(value)}"


def _text(value: Any) -> str:
    if isinstance(value, str) and _PLAIN.fullmatch(value) and value.lower() not in _WORDS:
        return value
    return json.dumps(value)
