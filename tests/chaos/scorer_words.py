"""What the scorer of the fault tests says: apart, because importing that scorer runs it."""

WROTE = "test: scores are acknowledged"
