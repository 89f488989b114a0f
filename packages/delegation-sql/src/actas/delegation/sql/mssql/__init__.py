"""SQL Server as the user: one batch takes the user's identity, runs his statement in a scope of its own, gives it back.

Read :mod:`.gate` for what statements may do, :mod:`.batch` for what is sent, :mod:`.module` for the road.
"""
