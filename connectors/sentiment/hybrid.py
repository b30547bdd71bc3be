"""The hybrid engine: FinBERT where it is sure of a side, else the surer of it and the light engine."""

from collections.abc import Sequence
from hashlib import sha256
from threading import Thread

from tapedeck.connectors.sentiment.scorer import FALLBACK, Mattered, Model, Score, ScoreFailed, Scorer

CALL_S = 30.0
TEXT_S = 1.0
"""A call has CALL_S and TEXT_S for each of its texts; one that takes longer is given up."""


class Hybrid:
    """A score keeps the engine and digest of the one that gave it; the light one's is LIGHT_FALLBACK where
    the first failed or took too long."""

    def __init__(
        self, first: Scorer, light: Scorer, cut: float, *, call_s: float = CALL_S, text_s: float = TEXT_S
    ) -> None:
        self._first, self._light, self._cut = first, light, cut
        self._call_s, self._text_s = call_s, text_s
        self._running: Thread | None = None
        told = f"{first.model.digest}|{light.model.digest}|{cut!r}"
        name = f"{first.model.model_id} + {light.model.model_id}"
        self.model = Model("hybrid", name, sha256(told.encode()).hexdigest()[:16])

    def score(self, texts: Sequence[str]) -> list[Score]:
        """A score per text, in order. Raises ScoreFailed if both engines fail."""
        firsts = self._firsts(texts)
        try:
            lights = list[Score | None](self._light.score(texts))
        except ScoreFailed:
            if None in firsts:
                raise
            lights = [None] * len(firsts)
        return [self._taken(*both) for both in zip(firsts, lights, strict=True)]

    def mattered(self, text: str, count: int) -> list[Mattered]:
        """What mattered to the light engine; FinBERT does not say."""
        return self._light.mattered(text, count)

    def _taken(self, first: Score | None, light: Score | None) -> Score:
        if first is None:
            assert light is not None
            return light._replace(engine=FALLBACK)
        if light is None or abs(first.score) > self._cut or abs(first.score) >= abs(light.score):
            return first
        return light

    def _firsts(self, texts: Sequence[str]) -> list[Score | None]:
        """The first engine's scores, None where it has none. One that fails does not take others with it."""
        try:
            return list(self._timed(texts))
        except TimeoutError:
            return [None] * len(texts)
        except ScoreFailed:
            if len(texts) == 1:
                return [None]
        return [score for text in texts for score in self._firsts([text])]

    def _timed(self, texts: Sequence[str]) -> list[Score]:
        """Raises TimeoutError also while a call that was given up still runs: there is no room for two."""
        if self._running is not None and self._running.is_alive():
            raise TimeoutError
        found: list[list[Score] | Exception] = []

        def run() -> None:
            try:
                found.append(self._first.score(texts))
            except Exception as error:  # raised again by the caller's thread
                found.append(error)

        # A thread of the daemon kind does not hold up the end of the process.
        self._running = Thread(target=run, name="sentiment", daemon=True)
        self._running.start()
        self._running.join(self._call_s + self._text_s * len(texts))
        if not found:
            raise TimeoutError
        if isinstance(found[0], Exception):
            raise found[0]
        return found[0]
