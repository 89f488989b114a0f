"""Kerberos services as the user, by constrained delegation (S4U): the KDC makes out tickets to her, on the word of the
gateway, for services that its administrator listed.

Read :mod:`.module` for the road, :mod:`.principals` for who somebody is, :mod:`.tickets` for what is asked of the KDC,
:mod:`.vault` for what is kept.
"""
