"""The notebook tap: what ``import tapedeck`` gives. ``tapedeck/__init__.py`` says which names are public."""
