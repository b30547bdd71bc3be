"""News: feeds and Alpaca's articles as records of the topic ``news``."""
