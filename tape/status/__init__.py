"""What a pipeline is doing, read from any cluster: heartbeats, groups, watermarks, and a screen of it."""
