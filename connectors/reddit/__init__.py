"""Reddit: posts and comments as records of the topic ``posts``."""
