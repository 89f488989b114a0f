"""REST services as the user: each call carries the token that was exchanged for the caller's, and no other.

Read :mod:`.module` for the road, :mod:`.paths`, :mod:`.query` and :mod:`.headers` for what a request may look like,
:mod:`.openapi` for how a document becomes operations.
"""
