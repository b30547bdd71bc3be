"""Public reports of what went wrong when programs traded, each as one script against the paper exchange.

The cases have the reports' numbers, T1 to T34. ``python -m tests.support.reports`` runs all and prints the
table.
"""
