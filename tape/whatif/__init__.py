"""``tape whatif``: the recorded tape decided again under another configuration, and what that changes."""
