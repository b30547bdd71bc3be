"""How the light engine's model is made: ``python -m tapedeck.connectors.sentiment.training``."""
