"""Grafana's dashboards, as JSON made of the catalogue of metrics, and the files that load them.

A panel shows one metric of the catalogue, and its description is the catalogue's.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from tapedeck.streams import metrics
from tapedeck.streams.metrics import Kind, Metric

FOLDER = "deploy/grafana"
MOUNTED = "/etc/grafana/provisioning"
SOURCE = "prometheus"
"""The uid by which panels name the data source."""
_WIDTH, _HEIGHT, _COLUMNS = 12, 8, 24
_RATE = "[$__rate_interval]"
_STAGES = '{stage=~"$stage"}'


@dataclass(frozen=True, kw_only=True)
class Panel:
    """One panel. ``expr`` has ``%s`` where the metric's name goes; ``unit``: Grafana's name of it."""

    title: str
    metric: Metric
    expr: str
    unit: str
    legend: str

    @property
    def query(self) -> str:
        """Its PromQL."""
        suffix = "_bucket" if self.metric.kind is Kind.HISTOGRAM else ""
        return self.expr % f"{self.metric.name}{suffix}"


@dataclass(frozen=True, kw_only=True)
class Board:
    """One dashboard; ``by_stage``: a variable chooses stages."""

    name: str
    title: str
    panels: tuple[Panel, ...]
    by_stage: bool = False


def _most(title: str, metric: Metric, unit: str, *by: str, only: str = "") -> Panel:
    return Panel(
        title=title,
        metric=metric,
        expr=f"max by ({', '.join(by)}) (%s{only})",
        unit=unit,
        legend=_legend(*by),
    )


def _each_second(title: str, metric: Metric, *by: str, only: str = "") -> Panel:
    expr = f"sum by ({', '.join(by)}) (rate(%s{only}{_RATE}))"
    return Panel(title=title, metric=metric, expr=expr, unit="cps", legend=_legend(*by))


def _minute(title: str, metric: Metric) -> Panel:
    """A moment: Grafana's dates are in milliseconds."""
    expr = f"max by (stage) (%s{_STAGES}) * 1000"
    return Panel(title=title, metric=metric, expr=expr, unit="dateTimeAsIso", legend=_legend("stage"))


def _of_five_minutes(title: str, metric: Metric, *by: str) -> Panel:
    expr = f"sum by ({', '.join(by)}) (increase(%s[5m]))"
    return Panel(title=title, metric=metric, expr=expr, unit="short", legend=_legend(*by))


def _quantile(title: str, metric: Metric, *by: str, only: str = "") -> Panel:
    expr = f"histogram_quantile(0.95, sum by ({', '.join((*by, 'le'))}) (rate(%s{only}{_RATE})))"
    return Panel(title=title, metric=metric, expr=expr, unit="s", legend=_legend(*by) or "95 %")


def _legend(*by: str) -> str:
    return " ".join(f"{{{{{label}}}}}" for label in by)


BOARDS: tuple[Board, ...] = (
    Board(
        name="overview",
        title="tapedeck: stages",
        by_stage=True,
        panels=(
            _most("Delay", metrics.DELAY, "s", "stage", "partition", only=_STAGES),
            Panel(
                title="Lag",
                metric=metrics.LAG,
                expr=f"sum by (stage) (%s{_STAGES})",
                unit="short",
                legend="{{stage}}",
            ),
            _each_second("Records taken", metrics.RECORDS, "stage", only='{stage=~"$stage",outcome="IN"}'),
            _quantile("Batch time, 95 %", metrics.BATCH, "stage", only=_STAGES),
            _most("Restore time", metrics.RESTORE, "s", "stage", "instance", only=_STAGES),
            _most("Restored records", metrics.RESTORED, "short", "stage", "instance", only=_STAGES),
            _most("Records to restore", metrics.TO_RESTORE, "short", "stage", "instance", only=_STAGES),
            _each_second("Rebalances", metrics.REBALANCES, "stage", only=_STAGES),
            _each_second("Repeats", metrics.REPEATS, "stage", only=_STAGES),
            _each_second("Dead letters", metrics.DEAD, "stage", "reason", only=_STAGES),
            _minute("Last ended minute", metrics.WATERMARK),
            _minute("Last minute of the source", metrics.SOURCE_WATERMARK),
            _most("Heartbeat age", metrics.BEAT, "s", "stage", "partition", only=_STAGES),
        ),
    ),
    Board(
        name="trading",
        title="tapedeck: trading",
        panels=(
            _of_five_minutes("Decisions by reason, last 5 min", metrics.DECISIONS, "reason"),
            _each_second("Decisions a second", metrics.DECISIONS, "stage"),
            _of_five_minutes("Gates by verdict, last 5 min", metrics.GATES, "gate", "verdict"),
            _of_five_minutes("Orders by state, last 5 min", metrics.ORDERS, "stage", "state"),
            _of_five_minutes("Exits by rule, last 5 min", metrics.EXITS, "stage", "rule"),
            _of_five_minutes("Positions by state, last 5 min", metrics.POSITIONS, "stage", "state"),
            _most("Warnings of accounts", metrics.WARNINGS, "short", "stage", "kind"),
            _most("Market open", metrics.SESSION, "bool_on_off"),
        ),
    ),
    Board(
        name="edges",
        title="tapedeck: edges and processes",
        panels=(
            _most("State of sources, time in it", metrics.FEED_AGE, "s", "stage", "source", "state"),
            _quantile("Scoring round, 95 %", metrics.MODEL),
            _most("Sink delay", metrics.SINK_DELAY, "s"),
            Panel(
                title="Ready",
                metric=metrics.READY,
                expr="min by (job, instance) (%s)",
                unit="bool_yes_no",
                legend=_legend("job", "instance"),
            ),
            Panel(
                title="Live",
                metric=metrics.LIVE,
                expr="min by (job, instance) (%s)",
                unit="bool_yes_no",
                legend=_legend("job", "instance"),
            ),
            Panel(
                title="Processes by version",
                metric=metrics.BUILD,
                expr="count by (code_version, config_digest, rules_version) (%s)",
                unit="short",
                legend=_legend("code_version", "config_digest", "rules_version"),
            ),
            Panel(
                title="Time since start",
                metric=metrics.STARTED,
                expr="time() - max by (job, instance) (%s)",
                unit="s",
                legend=_legend("job", "instance"),
            ),
        ),
    ),
)


def dashboards() -> dict[str, str]:
    """The text of each dashboard, by its path from the repository's root."""
    return {
        f"{FOLDER}/dashboards/{each.name}.json": json.dumps(_board(each), indent=1) + "\n" for each in BOARDS
    }


def provisioning() -> dict[str, dict[str, Any]]:
    """What Grafana reads at its start: the data source, and where the dashboards are."""
    source = {
        "name": "Prometheus",
        "uid": SOURCE,
        "type": "prometheus",
        "access": "proxy",
        "url": "http://prometheus:9090",
        "isDefault": True,
    }
    provider = {
        "name": "tapedeck",
        "type": "file",
        "disableDeletion": True,
        "options": {"path": f"{MOUNTED}/dashboards"},
    }
    return {
        f"{FOLDER}/datasources/prometheus.yml": {"apiVersion": 1, "datasources": [source]},
        f"{FOLDER}/dashboards/tapedeck.yml": {"apiVersion": 1, "providers": [provider]},
    }


def _board(board: Board) -> dict[str, Any]:
    return {
        "uid": f"tapedeck-{board.name}",
        "title": board.title,
        "tags": ["tapedeck"],
        "editable": False,
        "schemaVersion": 39,
        "timezone": "America/New_York",
        "time": {"from": "now-1h", "to": "now"},
        "refresh": "30s",
        "templating": {"list": [_stages()] if board.by_stage else []},
        "panels": list(_panels(board)),
    }


def _stages() -> dict[str, Any]:
    query = f"label_values({metrics.BEAT.name}, stage)"
    return {
        "name": "stage",
        "label": "Stage",
        "type": "query",
        "datasource": {"type": "prometheus", "uid": SOURCE},
        "query": {"query": query, "refId": "stage"},
        "definition": query,
        "refresh": 2,
        "sort": 1,
        "multi": True,
        "includeAll": True,
        "allValue": ".*",
        "current": {"text": ["All"], "value": ["$__all"]},
    }


def _panels(board: Board) -> Iterator[dict[str, Any]]:
    across = _COLUMNS // _WIDTH
    for place, panel in enumerate(board.panels):
        yield {
            "id": place + 1,
            "type": "timeseries",
            "title": panel.title,
            "description": panel.metric.help,
            "datasource": {"type": "prometheus", "uid": SOURCE},
            "gridPos": {
                "x": place % across * _WIDTH,
                "y": place // across * _HEIGHT,
                "w": _WIDTH,
                "h": _HEIGHT,
            },
            "fieldConfig": {"defaults": {"unit": panel.unit}, "overrides": []},
            "targets": [
                {
                    "refId": "A",
                    "datasource": {"type": "prometheus", "uid": SOURCE},
                    "expr": panel.query,
                    "legendFormat": panel.legend or panel.title,
                }
            ],
        }
