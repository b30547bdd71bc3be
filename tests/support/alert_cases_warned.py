"""The alerts on what accounts warn of, for each kind of warning, firing and silent."""

from tapedeck.tape.deployment.alerts import GRAVE
from tapedeck.tape.doctor.checks.warnings import KINDS
from tests.support.alert_series import DISPATCH, SESSION, Case, Series, of, still


def _warning(kind: str, place: int = 1) -> str:
    return of("tape_account_warnings", DISPATCH, f',kind="{kind}"', place)


def _warns(kind: str, count: int) -> tuple[tuple[Series, str], ...]:
    told = f"the account of {DISPATCH} warns of {kind} ({count})"
    return (({"stage": DISPATCH, "kind": kind}, told),)


def _grave(kind: str) -> tuple[Case, ...]:
    """It warns for long, begins just before it is judged, or has ended by then. The hour does not matter."""
    alert, begun, ended = "TapeAccountWarns", f"0x57 {still(1)}", f"1x57 {still(0)}"
    return (
        Case(alert=alert, why=kind, changes={_warning(kind): still(2)}, fires=_warns(kind, 2)),
        Case(
            alert=alert,
            why="at night",
            changes={SESSION: still(0), _warning(kind): still(2)},
            fires=_warns(kind, 2),
        ),
        Case(alert=alert, why="for a moment", changes={_warning(kind): begun}),
        Case(alert=alert, why="over by now", changes={_warning(kind): ended}),
    )


STUCK, MARKLESS = "CLOSE_STUCK", "MARK_MISSING"
_MARK = _warning(MARKLESS)
WARNED: tuple[Case, ...] = (
    *(case for kind in GRAVE for case in _grave(kind)),
    Case(
        alert="TapeAccountWarns",
        why="the next process of the account has begun",
        changes={_warning(STUCK): still(2), _warning(STUCK, place=2): still(1)},
        fires=_warns(STUCK, 2),
    ),
    Case(
        alert="TapeAccountWarns",
        why="of two kinds",
        changes={_warning(STUCK): still(2), _warning("NEEDS_REVIEW"): still(1)},
        fires=_warns(STUCK, 2) + _warns("NEEDS_REVIEW", 1),
    ),
    Case(alert="TapeAccountWarns", why="of nothing"),
    Case(
        alert="TapeAccountWarns",
        why="of what needs nobody at once",
        changes={_warning(kind): still(1) for kind in KINDS if kind not in GRAVE},
    ),
    Case(alert="TapeMarkMissing", why="for long", changes={_MARK: still(1)}, fires=_warns(MARKLESS, 1)),
    Case(alert="TapeMarkMissing", why="closed", changes={SESSION: still(0), _MARK: still(1)}),
    Case(alert="TapeMarkMissing", why="for four minutes", changes={_MARK: f"0x43 {still(1)}"}),
    Case(alert="TapeMarkMissing", why="back since", changes={_MARK: f"1x57 {still(0)}"}),
    Case(
        alert="TapeMarkMissing",
        why="the market opened four minutes ago",
        changes={SESSION: f"0x43 {still(1)}", _MARK: still(1)},
    ),
    Case(
        alert="TapeMarkMissing",
        why="other kinds",
        changes={_warning(kind): still(1) for kind in KINDS if kind != MARKLESS},
    ),
)
