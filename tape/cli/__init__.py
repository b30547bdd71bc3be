"""The `tape` commands: options and output, a module for each."""
