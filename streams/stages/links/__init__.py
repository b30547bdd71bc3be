"""Which symbols a text names: the rule, and what the stages that link have in common."""
