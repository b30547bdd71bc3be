"""Print the table of all cases."""

from tests.support.reports.table import every, table

if __name__ == "__main__":
    print(table(every()))
