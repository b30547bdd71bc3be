"""The comparison worker: plain Faust with a RocksDB table, as its documentation shows it.

    python -m tests.bench.plain_faust

One event at a time, the same stage mathematics and the same schemas as the features worker, the table and
the output topic through Faust's own producer. No watermarks, no repeats, no order between effects. Without
an output topic the windows lie in a dict, because a table always has a changelog, and a digest is taken.
"""

import logging
import sys
from collections.abc import MutableMapping
from typing import Any

import faust

from tapedeck.schemas.codec import decode, encode
from tapedeck.streams.protocol import MINUTE_US, Row
from tapedeck.streams.stages.features.stage import FeaturesStage
from tests.bench.peer import Progress, Told, rules

OUTPUT = "plain.features"
PARTITIONS = 4


def app_of(told: Told) -> faust.App:
    """The app over the tape's bars."""
    app = faust.App(
        told.group,
        broker=f"kafka://{told.bootstrap}",
        datadir=str(told.folder),
        store="rocksdb://",
        topic_partitions=PARTITIONS,
        topic_disable_leader=True,
        web_enabled=False,
        consumer_auto_offset_reset="earliest",
        key_serializer="raw",
        value_serializer="raw",
    )
    bars = app.topic(told.bars, key_type=bytes, value_type=bytes)
    output = app.topic(told.output, key_type=bytes, value_type=bytes) if told.output else None
    windows: MutableMapping[bytes, bytes] = {}
    if output is not None:
        options = {"block_cache_size": 8 << 20}
        windows = app.Table("windows", key_type=bytes, value_type=bytes, options=options)
    stage, progress = FeaturesStage(*rules()), Progress(told.warm, told.total, writes=output is not None)

    @app.agent(bars)
    async def features(stream: Any) -> None:
        async for event in stream.events():
            if event.value is None:
                continue
            body = decode("bars", event.value)
            row = Row("bars", event.key, body, body["t"], body["t"] + MINUTE_US)
            step = stage.step(event.key, windows.get(event.key), [row])
            for out in step.outs:
                value = encode(out.topic, out.body)
                if output is None:
                    progress.digest(out.event_id, out.record_key, value)
                else:
                    await output.send(key=out.record_key, value=value)
            windows[event.key] = step.state
            progress.bar()

    return app


def main() -> None:
    logging.basicConfig(level=logging.WARNING, stream=sys.stderr)
    app = app_of(Told.from_environment())
    faust.Worker(app, loglevel="WARNING", redirect_stdouts=False).execute_from_commandline()


if __name__ == "__main__":
    main()
