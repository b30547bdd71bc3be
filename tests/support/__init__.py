"""What tests share: servers to talk to, oracles, logs and records made for one case."""
