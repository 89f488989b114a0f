"""Claims a name that another distribution has already."""

raise RuntimeError("nobody may import this")
