"""The notebook tap: the functions of ``import tapedeck``. ``tapedeck/__init__.py`` lists the public names."""
