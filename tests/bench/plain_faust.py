"""The comparison worker: plain Faust with a RocksDB table, as its documentation shows it.

    python -m tests.bench.plain_faust PREFIX

One event at a time, the same stage mathematics and the same schemas as the features worker, the table and
the output topic through Faust's own producer. No watermarks, no repeats, no order between effects.
"""

import logging
import os
import sys
from typing import Any

import faust

from agents.settings import from_environment
from schemas.codec import decode, encode
from streams.contract import MINUTE_US, Row
from streams.stages.features import FeaturesStage

OUTPUT = "plain.features"


def app_of() -> faust.App:
    """The app over the prefix's bars."""
    settings = from_environment()
    layout, folder = settings.layout, settings.home / "plain"
    folder.mkdir(parents=True, exist_ok=True)
    app = faust.App(
        settings.group("plain"),
        broker=f"kafka://{settings.bootstrap}",
        datadir=str(folder),
        store="rocksdb://",
        topic_partitions=layout.partitions("bars"),
        topic_disable_leader=True,
        web_enabled=False,
        consumer_auto_offset_reset="earliest",
        key_serializer="raw",
        value_serializer="raw",
    )
    bars = app.topic(layout.wire_name("bars"), key_type=bytes, value_type=bytes)
    output = app.topic(f"{layout.prefix}.{OUTPUT}", key_type=bytes, value_type=bytes)
    windows = app.Table("windows", key_type=bytes, value_type=bytes, options={"block_cache_size": 8 << 20})
    stage = FeaturesStage(settings.config, settings.calendar)

    @app.agent(bars)
    async def features(stream: Any) -> None:
        async for event in stream.events():
            if event.value is None:
                continue
            body = decode("bars", event.value)
            row = Row("bars", event.key, body, body["t"], body["t"] + MINUTE_US)
            step = stage.step(event.key, windows.get(event.key), [row])
            for out in step.outs:
                await output.send(key=out.record_key, value=encode(out.topic, out.body))
            windows[event.key] = step.state

    return app


def main() -> None:
    logging.basicConfig(level=logging.WARNING, stream=sys.stderr)
    faust.Worker(app_of(), loglevel="WARNING", redirect_stdouts=False).execute_from_commandline()


if __name__ == "__main__":
    os.environ.setdefault("TAPE_HOME", ".tape")
    main()
