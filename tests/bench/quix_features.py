"""The features stage as a Quix Streams program; it runs in an environment of its own (``peers.quix``).

    python -m tests.bench.quix_features

The stage's own kernel is called per message with fastavro. With an output topic the windows lie in Quix's
state with its changelog, as by default; without one there is no changelog, and a digest is taken instead.
"""

from typing import Any

from quixstreams import Application, State

from tapedeck.schemas.codec import decode, encode
from tapedeck.streams.protocol import MINUTE_US, Row
from tapedeck.streams.stages.features.stage import FeaturesStage
from tests.bench.peer import Progress, Told, rules


def app_of(told: Told) -> Application:
    """The app over the tape's bars."""
    app = Application(
        broker_address=told.bootstrap,
        consumer_group=told.group,
        auto_offset_reset="earliest",
        processing_guarantee=told.guarantee,
        state_dir=told.folder / "state",
        use_changelog_topics=bool(told.output),
        loglevel="WARNING",
    )
    bars = app.topic(told.bars, key_deserializer="bytes", value_deserializer="bytes")
    stage, progress = FeaturesStage(*rules()), Progress(told.warm, told.total, writes=bool(told.output))

    def features(value: bytes, key: bytes, timestamp: int, headers: Any, state: State) -> list[bytes]:
        body = decode("bars", value)
        row = Row("bars", key, body, body["t"], body["t"] + MINUTE_US)
        step = stage.step(key, state.get_bytes("window"), [row])
        state.set_bytes("window", step.state)
        values = [encode(out.topic, out.body) for out in step.outs]
        if not told.output:
            for out, written in zip(step.outs, values, strict=True):
                progress.digest(out.event_id, out.record_key, written)
        progress.bar()
        return values

    frame = app.dataframe(bars)
    frame = frame.filter(lambda value: value is not None)
    frame = frame.apply(features, stateful=True, expand=True, metadata=True)
    if told.output:
        output = app.topic(told.output, key_serializer="bytes", value_serializer="bytes")
        frame.to_topic(output)
    return app


if __name__ == "__main__":
    app_of(Told.from_environment()).run()
