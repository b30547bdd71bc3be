"""What people touch: the ``tape`` command, the notebook's functions, the local stack, rebuild, the demo."""
