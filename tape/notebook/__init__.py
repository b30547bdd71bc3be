"""The notebook tap: what ``import tape`` gives. ``tape/__init__.py`` says which names are public."""
