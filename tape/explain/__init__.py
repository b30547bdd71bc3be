"""``tape explain``: why a record exists, as the tree of its inputs, with each record recomputed."""
