"""Sentiment of a text. A score is an effect: computed once, stored with its model, never inferred again."""
