"""Records as columns: the batch Avro reader and writer of the hot schemas."""

from tapedeck.schemas.columns.kernel import NULL
from tapedeck.schemas.columns.layout import supports, symbols
from tapedeck.schemas.columns.table import Columns
from tapedeck.schemas.columns.wire import decode_columns, encode_columns

__all__ = ["NULL", "Columns", "decode_columns", "encode_columns", "supports", "symbols"]
