"""Kerberos services as the user, by constrained delegation (S4U)."""
