"""The windows that a decision joins end no minute: without them it goes on as without news."""

from tapedeck.streams.stages.sentiment_windows.reasons import Unstated
from tapedeck.streams.trail import Trail

TRAIL = Trail(topic="sentiment_windows", places=("sentiment_windows",), nothing=Unstated.NO_WINDOW)
