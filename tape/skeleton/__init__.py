"""What `tape new` writes: a package of the user's with a stage, from the templates of this folder."""
