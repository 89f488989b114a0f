"""The library underneath: httpx2, where it is installed, else httpx, whose API it continues."""

import importlib
import importlib.util
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import httpx as httpx
else:
    httpx = importlib.import_module("httpx2" if importlib.util.find_spec("httpx2") else "httpx")

__all__ = ["httpx"]
