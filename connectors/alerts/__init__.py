"""Alert sinks: where notices of what is wrong go, for people without Prometheus."""
