"""How far a gate that a proposal records was from passing."""

from decimal import Decimal, InvalidOperation

from tapedeck.streams.misses import Body, Miss


def miss_of_gate(gate: Body) -> Miss | None:
    """How far a gate's value was from its limit; None if either is not a number."""
    try:
        observed, limit = Decimal(gate["observed"]), Decimal(gate["threshold"])
    except (InvalidOperation, TypeError):
        return None
    side = "over" if observed > limit else "short"
    unit = gate["unit"] or ""
    return Miss(name=gate["gate"], value=float(observed), limit=float(limit), side=side, unit=unit)
