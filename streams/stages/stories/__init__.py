"""news -> links, stories: the symbols that each version of an article names, and the story that it tells."""
