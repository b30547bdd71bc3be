"""The rules file of Prometheus, made of the table of alerts."""

from typing import Any

from tapedeck.streams.topology import Topology
from tapedeck.tape.deployment.alerts import Alert, alerts
from tapedeck.tape.deployment.alerts_absent import twins

RULES = "deploy/prometheus/rules/tapedeck.yml"
INTERVAL_S = 15


def all_alerts(topology: Topology) -> tuple[Alert, ...]:
    """Every alert of a deployment of ``topology``: on what is measured, then on what is missing."""
    return (*alerts(topology), *twins(topology))


def rules(topology: Topology) -> dict[str, Any]:
    """The rules file: one group, judged as often as the processes are read."""
    found = [rule for alert in all_alerts(topology) for rule in alert.rules()]
    return {"groups": [{"name": "tapedeck", "interval": f"{INTERVAL_S}s", "rules": found}]}
