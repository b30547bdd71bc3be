"""``python -m tapedeck.schemas``: logs every changed ``.avsc`` and writes the golden bytes of its version."""

from pathlib import Path

from tapedeck.schemas.golden import add_missing
from tapedeck.schemas.ids import append_changed

print("\n".join(append_changed(Path(__file__).parent) + add_missing()) or "nothing changed")
