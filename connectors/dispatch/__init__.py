"""An account's dispatcher: its inbox, its steps, its lease, its routing of signals, and the simulated one."""
