"""The scorer: reads what items were linked to, writes their sentiment. The order, the loop, its two logs."""
