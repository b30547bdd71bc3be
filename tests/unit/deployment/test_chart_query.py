"""The scaling query as Prometheus evaluates it: `promtool test rules` on what the chart renders."""

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

from tapedeck.streams.metrics import DELAY as DELAY_METRIC
from tapedeck.streams.metrics import READY as READY_METRIC
from tests.support.chart import golden, named

PROMTOOL = os.environ.get("TAPE_PROMTOOL") or shutil.which("promtool")
QUERY = named(golden("default"), "ScaledObject", "tapedeck-features")["spec"]["triggers"][0]["metadata"][
    "query"
]
READY = 'tape_ready{{namespace="tape",pod="tapedeck-features-{}"}}'
DELAY = (
    'tape_stage_delay_seconds{{namespace="tape",pod="tapedeck-features-0",stage="features",partition="{}"}}'
)
OTHERS = {
    'tape_ready{namespace="tape",pod="tapedeck-signals-0"}': "0x60",
    'tape_stage_delay_seconds{namespace="tape",pod="tapedeck-signals-0",stage="signals"}': "900x60",
}


def workers(*ready: int) -> dict[str, str]:
    return {READY.format(place): f"{each}x60" for place, each in enumerate(ready)}


CASES = {
    "no delay": ({**workers(1, 1), DELAY.format(0): "0x60"}, 1),
    "a worker more": ({**workers(1), DELAY.format(0): "25x60"}, 2),
    "the highest partition counts": ({**workers(1), DELAY.format(0): "0x60", DELAY.format(1): "65x60"}, 4),
    "a divisor, not five": ({**workers(1), DELAY.format(0): "90x60"}, 6),
    "the most": ({**workers(1), DELAY.format(0): "3000x60"}, 12),
    "a burst of a minute ago": ({**workers(1), DELAY.format(0): "0x55 45 0x5"}, 3),
    "a burst of long ago": ({**workers(1), DELAY.format(0): "0x10 45 0x50"}, 1),
    "a worker recovers": ({**workers(1, 1, 0), DELAY.format(0): "0x60"}, 3),
    "a worker recovers, no delay yet": (workers(1, 0), 2),
    "a history is caught up": ({**workers(1, 1), DELAY.format(0): "40000x60"}, 2),
    "a history is over, and is in the window": ({**workers(1), DELAY.format(0): "40000x54 0x6"}, 1),
    "a history is over, and was in the window": ({**workers(1), DELAY.format(0): "40000x30 3000 0x30"}, 1),
    "a history is over, and another burst comes": ({**workers(1), DELAY.format(0): "40000x30 0x28 65"}, 4),
    "no worker answers": ({}, None),
    "ready, and no watermark yet": (workers(1), None),
}

FINE_CASES = {
    "a minute behind at one reading": ({**workers(1), DELAY.format(0): "0x40 60 0x19"}, 1),
    "a minute behind at every fourth reading": ({**workers(1), DELAY.format(0): "60 0 0 0 " * 15}, 1),
    "a minute behind for a minute": ({**workers(1), DELAY.format(0): "0x40 60x4 0x16"}, 3),
}
"""Readings every 15 s, as the ServiceMonitor has it; CASES has one a minute."""


def test_query_asks_for_metrics_of_the_catalogue() -> None:
    assert set(re.findall(r"\btape_\w+", QUERY)) == {READY_METRIC.name, DELAY_METRIC.name}
    assert "stage" in DELAY_METRIC.labels


@pytest.mark.skipif(PROMTOOL is None, reason="there is no promtool: it comes with Prometheus")
def test_query_answers_with_a_divisor_or_holds_the_number(tmp_path: Path) -> None:
    tests = [
        {
            "interval": interval,
            "name": name,
            "input_series": [{"series": s, "values": v.strip()} for s, v in {**series, **OTHERS}.items()],
            "promql_expr_test": [
                {
                    "expr": QUERY,
                    "eval_time": at,
                    "exp_samples": [] if wanted is None else [{"labels": "{}", "value": wanted}],
                }
            ],
        }
        for interval, at, cases in (("1m", "60m", CASES), ("15s", "15m", FINE_CASES))
        for name, (series, wanted) in cases.items()
    ]
    (tmp_path / "tests.yml").write_text(yaml.safe_dump({"rule_files": [], "tests": tests}, width=1000))
    done = subprocess.run(
        [str(PROMTOOL), "test", "rules", str(tmp_path / "tests.yml")],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
