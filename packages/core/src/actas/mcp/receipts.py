"""What every result carries in its ``_meta``: whom the downstream saw, and what to quote to an operator."""

import orjson

from actas.core import Receipt
from actas.core.pipeline import current_request
from actas.mcp.encoding import encode

RECEIPT_KEY = "actas/receipt"
REQUEST_KEY = "actas/requestId"


def proof(receipt: Receipt) -> dict[str, object]:
    """The ``_meta`` of a result. Raises ValueError: the receipt is not JSON."""
    shown = {"identity": receipt.identity, "method": receipt.method, "details": dict(receipt.details)}
    return {RECEIPT_KEY: orjson.Fragment(encode(shown)), REQUEST_KEY: current_request()}
