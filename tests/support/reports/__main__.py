"""Print the table of all cases."""

from tests.support.reports.registry import table

if __name__ == "__main__":
    print(table())
