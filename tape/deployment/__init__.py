"""What a deployment runs: its processes as data, and the compose file made of them."""
