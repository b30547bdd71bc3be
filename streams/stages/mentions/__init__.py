"""sentiment -> mentions: who speaks of a symbol in an hour, and how."""
