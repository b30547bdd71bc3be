"""The broker's ahead-of-time cache: made once per download, it cuts a start from three seconds to one."""

import tempfile
from pathlib import Path

from tapedeck.schemas.errors import Fatal
from tapedeck.tape.local import jars
from tapedeck.tape.local.kafka import EmbeddedKafka
from tapedeck.tape.local.places import say

_DUMP_S = 90.0


def prepare(cache: Path) -> None:
    """Download the broker and build its cache, unless that was done before.

    If the cache cannot be built, the broker starts without it, and one message says so.
    """
    jars.classpath(cache)
    home = jars.folder(cache)
    archive, refused = home / "broker.aot", home / "broker.aot.refused"
    if archive.is_file() or refused.is_file():
        return
    with jars.only_one(cache, "aot"):
        if archive.is_file() or refused.is_file():
            return
        say("preparing Kafka for quick starts (about 10 s, once)")
        with tempfile.TemporaryDirectory(prefix="tapedeck-aot-") as scratch:
            made = home / "broker.aot.new"
            broker = EmbeddedKafka(Path(scratch), cache, jvm=(f"-XX:AOTCacheOutput={made}",))
            try:
                broker.start()
                broker.stop(_DUMP_S)
            except Fatal as error:
                refused.write_text(f"{error}\n")
            finally:
                broker.kill()
        if made.is_file():
            made.rename(archive)
        elif not refused.is_file():
            refused.write_text("the runtime wrote no cache\n")
        if refused.is_file():
            say(f"Kafka will start without its quick-start cache: see {refused}")
