"""Packages of extras that a command or a function turns out to need, in words."""

from tapedeck.schemas.errors import Fatal

_EXTRAS = {
    "polars": (
        "frames",
        "frames in notebooks, market files and snapshots are read with it",
        "; the extras local and notebook have it too",
    ),
    "opentelemetry": ("otel", "`tape trace` sends spans to a collector with it", ""),
}
"""By package: its extra, what it is for, and what else there is to say."""


def lacking(error: ModuleNotFoundError) -> Fatal | None:
    """The error for a package of an extra that is not installed; None for any other module."""
    package = (error.name or "").partition(".")[0]
    if package not in _EXTRAS:
        return None
    extra, use, more = _EXTRAS[package]
    return Fatal(
        f"the package {package} is not installed: {use}",
        value=package,
        remedy=f"pip install 'tapedeck[{extra}]'{more}",
    )
