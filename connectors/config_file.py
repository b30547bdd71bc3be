"""The configuration document as a file."""

from pathlib import Path

from tapedeck.schemas.errors import ConfigInvalid
from tapedeck.streams.config.document import Config, from_toml


def load(path: Path) -> Config:
    """The document at ``path``. Raises ConfigInvalid where it is absent, unparsable or invalid."""
    try:
        return from_toml(path.read_text(), str(path))
    except FileNotFoundError:
        raise ConfigInvalid(
            "there is no configuration file",
            value=str(path),
            remedy="write one with `tape config show > tape.toml`",
        ) from None
