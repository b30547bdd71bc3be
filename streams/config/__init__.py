"""The configuration document: parameters with their ranges, accounts, the digest."""
