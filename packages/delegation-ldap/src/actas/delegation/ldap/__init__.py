"""LDAP directories as the user, by proxied authorization or the user's own ticket."""
