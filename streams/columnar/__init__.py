"""The columnar driver: rebuilds a stage from whole record batches."""
