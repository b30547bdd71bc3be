"""The checks by what they look at: the servers, the processes, the flow of records, and the trading."""
