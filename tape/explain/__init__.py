"""``tape explain``: why a record is there, as the tree of what it was made from, each part computed again."""
