"""A backtest as one JSON document. Money in USD, shares as fractions, times ISO 8601 in UTC."""

from collections.abc import Iterable, Sequence
from decimal import Decimal
from math import isinf
from typing import Any

from tapedeck.streams.sessions import iso_date, iso_utc
from tapedeck.tape.backtest.checks import Check
from tapedeck.tape.backtest.compare import Comparison
from tapedeck.tape.backtest.result import FILL_MODEL, Backtest

Json = Any
_DATES = frozenset({"date"})
_TIMES = frozenset({"at", "opened_at", "closed_at", "drawdown_from", "drawdown_to"})


def as_document(
    found: Backtest, both: Comparison | None = None, checks: Sequence[Check] = ()
) -> dict[str, Json]:
    """The whole of it, trades and samples included; with ``both``, run A's figures and the differences."""
    told = _of_run(found)
    told["checks"] = [_fields(each) for each in checks]
    if both is not None:
        told["compared"] = {
            "a": both.names[0],
            "b": both.names[1],
            "changes": list(both.changes),
            "paired": [_fields(each) for each in both.paired],
            "differences": {
                name: [{"date": str(iso_date(date)), "usd": _plain(usd)} for date, usd in each]
                for name, each in both.differences.items()
            },
            "run_a": _of_run(both.a),
        }
    return told


def _of_run(found: Backtest) -> dict[str, Json]:
    return {
        "tape": found.tape,
        "first": found.first,
        "last": found.last,
        "sessions": len(found.sessions),
        "bars": found.bars,
        "config_digest": found.config.digest,
        "warnings": list(found.warnings),
        "notes": list(found.notes),
        "fees": _fields(found.plan.fees),
        "fill_model": FILL_MODEL,
        "seed": found.plan.seed,
        "took_s": round(found.took_s, 3),
        "accounts": _rows(found.summaries),
        "groups": _rows(found.groups),
        "days": _rows(found.days),
        "trades": _rows(found.trades),
        "samples": {name: _rows(each) for name, each in found.samples.items()},
        "funnel": _rows(found.funnel),
        "priced_by": [
            {
                "date": str(iso_date(each.date)),
                "bars": each.origin,
                "stock_quotes": each.quote_origin,
                "option_chains": each.chain_origin,
            }
            for each in found.sessions
        ],
        "digests": found.digests,
    }


def _rows(rows: Iterable[Any]) -> list[dict[str, Json]]:
    return [_fields(each) for each in rows]


def _fields(each: Any) -> dict[str, Json]:
    """A row by field; times, dates and amounts as JSON has them."""
    fields = each._asdict() if hasattr(each, "_asdict") else vars(each)
    return {name: _field(name, value) for name, value in fields.items()}


def _field(name: str, value: Any) -> Json:
    if value is None:
        return None
    if name in _DATES:
        return str(iso_date(value))
    return iso_utc(value) if name in _TIMES else _plain(value)


def _plain(value: Any) -> Json:
    match value:
        case Decimal():
            return float(value)
        case float():
            return None if isinf(value) else value
        case str() | int() | None:
            return value
        case tuple() if hasattr(value, "_asdict"):
            return _fields(value)
        case tuple() | list():
            return [_plain(each) for each in value]
    raise TypeError(type(value).__name__)
