"""PostgreSQL as the user: logs in as whoever called the tool, never as a shared account.

Read :mod:`.module` for the road, :mod:`.gate` for what statements may do, :mod:`.transaction` for how one runs.
"""
