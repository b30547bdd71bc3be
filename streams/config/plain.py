"""Values of the document in types that TOML has."""

from decimal import Decimal
from typing import Any


def plain(value: Any) -> Any:
    """Decimals as text, tuples as lists, enums as their values."""
    if isinstance(value, Decimal):
        return str(value)
    if isinstance(value, dict):
        return {k: plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [plain(v) for v in value]
    return str(value) if isinstance(value, str) else value
