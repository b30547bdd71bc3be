"""What `tape new` writes: a user's package with a stage, from the templates in this folder."""
