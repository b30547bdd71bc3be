"""Health over HTTP: what a process is missing, its metrics, and the question of `tape health`."""
