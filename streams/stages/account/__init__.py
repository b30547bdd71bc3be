"""The account stage: what comes of an account's inbox, from signal to position."""
