"""Ctrl-C ends a command wherever its main thread is, even where Python drops what is raised."""

import subprocess
import sys

import pytest

AT_WORK = """
import ctypes, signal, time
from tapedeck.tape.interrupts import ignore_stops, raise_on_stops

class Last:
    def __del__(self):
        signal.raise_signal(signal.SIGTERM)
        time.sleep(0)

@ctypes.CFUNCTYPE(None)
def callback():
    signal.raise_signal(signal.SIGINT)
    time.sleep(0)

def drop_a_last_reference():
    Last()

def call_from_c():
    callback()

raise_on_stops()
try:
    {arrives}()
    print("dropped", flush=True)
    time.sleep(10)
except KeyboardInterrupt:
    ignore_stops()
    time.sleep(0.2)  # a late one would end it here
    print("ended")
"""


@pytest.mark.parametrize("arrives", ["drop_a_last_reference", "call_from_c"])
def test_a_stop_that_python_drops_is_sent_again(arrives: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", AT_WORK.format(arrives=arrives)],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.stdout.split() == ["dropped", "ended"], done.stderr
    assert done.stderr == ""


def test_what_else_python_drops_is_still_told() -> None:
    code = AT_WORK.format(arrives="list").replace("time.sleep(10)", "Last.__del__ = lambda _: 1 / 0; Last()")
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False
    )
    assert "ZeroDivisionError" in done.stderr and done.stdout.split() == ["dropped"]
