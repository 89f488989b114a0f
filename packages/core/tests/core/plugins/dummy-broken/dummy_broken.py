"""Cannot be imported."""

raise ImportError("libdummy.so.7 is not there")
