"""What the post_links stage's funnel line counts: versions of posts in, those that count for a symbol out."""

from tapedeck.streams.stages.links.funnel import funnel_of

FUNNEL = funnel_of("post_links", "posts", "post_links")
