"""``python -m tapedeck.schemas``: adds every changed ``.avsc`` to the id log and writes its golden bytes."""

from pathlib import Path

from tapedeck.schemas.golden import add_missing
from tapedeck.schemas.ids import append_changed

print("\n".join(append_changed(Path(__file__).parent) + add_missing()) or "nothing changed")
