"""Print the table."""

from tests.support.firing.table import in_words

if __name__ == "__main__":
    print(in_words())
