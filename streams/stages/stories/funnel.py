"""What the stories stage's funnel line counts: versions of articles in, those that count for a symbol out."""

from tapedeck.streams.stages.links.funnel import funnel_of

FUNNEL = funnel_of("stories", "news", "links")
