"""Records as columns: the batch Avro reader and writer of the hot schemas."""

from schemas.columns.kernel import NULL
from schemas.columns.layout import supports, symbols
from schemas.columns.table import Columns
from schemas.columns.wire import decode_columns, encode_columns

__all__ = ["NULL", "Columns", "decode_columns", "encode_columns", "supports", "symbols"]
