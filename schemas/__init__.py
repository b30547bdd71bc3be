"""What records are: a schema per record, the id log, the codec, the compatibility gate."""
