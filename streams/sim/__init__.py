"""The simulation driver: stages in memory, with crashes and redelivery by seed."""
