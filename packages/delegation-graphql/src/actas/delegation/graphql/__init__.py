"""GraphQL as the user: every document is judged here first, and sent with a token exchanged for the caller's own.

Read :mod:`.module` for the road, :mod:`.policy` for what documents may do, :mod:`.operations` for those on file.
"""
