"""The synthetic market's articles and posts: templates, seeded, with what goes wrong in real ones."""
