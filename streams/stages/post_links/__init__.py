"""posts -> post_links: the symbols that each version of a post or comment names."""
