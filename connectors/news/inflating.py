"""Bodies of answers, decompressed within bounds: a few kilobytes must not become gigabytes."""

import zlib

_ZLIB_OR_GZIP = 47
_STEP = 65_536


class TooLarge(Exception):
    """A body beyond the limit."""


class Undecodable(Exception):
    """A body whose content coding is unknown or broken."""


class Body:
    """Collects a body of content coding ``coding`` up to ``limit`` bytes, sent and decompressed."""

    def __init__(self, coding: str, limit: int) -> None:
        """Raises Undecodable for a coding that was not asked for."""
        self._is_packed = coding.strip().lower() in ("gzip", "x-gzip", "deflate")
        if not self._is_packed and coding.strip().lower() not in ("", "identity"):
            raise Undecodable(f"its content coding is {coding[:40]!r}, which was not asked for")
        self._limit = limit
        self._sent = 0
        self._content = bytearray()
        self._inflater = zlib.decompressobj(_ZLIB_OR_GZIP)

    def add(self, chunk: bytes) -> None:
        """Take the next bytes as they came. Raises TooLarge or Undecodable."""
        self._sent += len(chunk)
        if self._sent > self._limit:
            raise TooLarge
        if self._is_packed:
            self._inflate(chunk)
        else:
            self._content += chunk

    def _inflate(self, chunk: bytes) -> None:
        while chunk:
            if self._inflater.eof:
                if not chunk.strip(b"\0"):
                    return  # padding
                self._inflater = zlib.decompressobj(_ZLIB_OR_GZIP)  # a gzip file may have several parts
            try:
                self._content += self._inflater.decompress(chunk, _STEP)
            except zlib.error as error:
                raise Undecodable(f"its compressed body is broken: {error}") from None
            if len(self._content) > self._limit:
                raise TooLarge
            chunk = self._inflater.unconsumed_tail or self._inflater.unused_data

    def end(self) -> bytes:
        """The whole body. Raises Undecodable where its compressed form ends too early."""
        if self._is_packed and self._sent and not self._inflater.eof:
            raise Undecodable("its compressed body ends too early")
        return bytes(self._content)
