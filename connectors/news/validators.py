"""What a feed's server is told about the copy that is here: conditional requests, as one pure state."""

from dataclasses import dataclass, replace
from enum import StrEnum

ETAG, MODIFIED = "ETag", "Last-Modified"
SAME_LIMIT = 5
"""Full answers with one body, in spite of both validators, after which one is tried alone."""
_LENGTH_LIMIT = 1_024


class Mode(StrEnum):
    """Which validators are sent."""

    BOTH = "BOTH"
    ETAG = "ETAG"
    MODIFIED = "MODIFIED"


_NEXT = {Mode.BOTH: Mode.ETAG, Mode.ETAG: Mode.MODIFIED, Mode.MODIFIED: Mode.BOTH}


@dataclass(frozen=True, kw_only=True)
class Validators:
    """The newest ETag and Last-Modified of a feed, as they were sent: opaque, never normalized.

    Some servers ignore one where they see the other. Where the same body comes ``SAME_LIMIT`` times, each is
    tried alone, and what is answered with 304 stays (``is_proven``).
    """

    etag: str | None = None
    modified: str | None = None
    mode: Mode = Mode.BOTH
    is_proven: bool = False
    body_digest: str = ""
    same: int = 0

    def headers(self) -> dict[str, str]:
        """The headers of the next request."""
        sent = {}
        if self.etag is not None and (self.mode is not Mode.MODIFIED or self.modified is None):
            sent["If-None-Match"] = self.etag
        if self.modified is not None and (self.mode is not Mode.ETAG or self.etag is None):
            sent["If-Modified-Since"] = self.modified
        return sent

    def after_full(self, etag: str | None, modified: str | None, body_digest: str) -> "Validators":
        """The state after an answer 200: its validators are kept whatever its body."""
        etag, modified = _kept(etag), _kept(modified)
        same = self.same + 1 if body_digest == self.body_digest else 1
        mode, is_proven = self.mode, self.is_proven
        has_both = None not in (self.etag, self.modified)
        on_trial = mode is not Mode.BOTH and not is_proven
        if has_both and same > 1 and (on_trial or same >= SAME_LIMIT):
            mode, is_proven = _NEXT[mode], False
            same = same if mode is not Mode.BOTH else 1
        return Validators(
            etag=etag, modified=modified, mode=mode, is_proven=is_proven, body_digest=body_digest, same=same
        )

    def after_unchanged(self, etag: str | None, modified: str | None) -> "Validators":
        """The state after an answer 304: the validators that it has replace the stored ones."""
        return replace(
            self,
            etag=_kept(etag) or self.etag,
            modified=_kept(modified) or self.modified,
            is_proven=True,
            same=0,
        )


def _kept(value: str | None) -> str | None:
    """A header that can be sent back as it came; None otherwise."""
    if not value or len(value) > _LENGTH_LIMIT or not value.isprintable():
        return None
    return value
