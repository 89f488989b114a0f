"""What an OpenLDAP server is told for each identity of :mod:`actas.delegation.ldap`: the documentation shows these very
lines, and the tests run with them.
"""

SUFFIX = "dc=example,dc=com"
"""Where the test directory begins. Users are below ``ou=people``, services below ``ou=services``."""
GATEWAY = f"cn=gateway,ou=services,{SUFFIX}"
"""The gateway's own entry."""

POLICY = "authz-policy to\n"
"""slapd.conf: whom a service may act as stands in that service's own entry."""
PROTECTION = """\
access to attrs=authzTo,authzFrom
    by dn.exact="cn=admin,dc=example,dc=com" write
    by * auth
"""
"""slapd.conf, before other access rules: nobody writes himself such a permission, and nobody needs to read them."""
POLICY_LDIF = """\
dn: cn=config
changetype: modify
replace: olcAuthzPolicy
olcAuthzPolicy: to
"""
"""The same as :data:`POLICY` for a server that is configured in ``cn=config``."""
AUTHZ_TO = "ldap:///ou=people,dc=example,dc=com??one?(objectClass=inetOrgPerson)"
"""The gateway's ``authzTo``: all who have an entry as a person right below ``ou=people``, and nobody who has none."""
AUTHZ_TO_LDIF = f"""\
dn: cn=gateway,ou=services,dc=example,dc=com
changetype: modify
replace: authzTo
authzTo: {AUTHZ_TO}
"""
"""Gives it to the gateway."""
CERTIFICATE_REGEXP = 'authz-regexp "^cn=([^,]+)$" "cn=$1,ou=services,dc=example,dc=com"\n'
"""slapd.conf: the entry of whoever shows a client certificate with the subject ``CN=gateway``."""
USER_REGEXP = 'authz-regexp "^uid=([^,]+)(,cn=external)?,cn=auth$" "uid=$1,ou=people,dc=example,dc=com"\n'
"""slapd.conf: the entry that an authorization identity ``u:alice`` means."""
KERBEROS_REGEXP = 'authz-regexp "^uid=([^,/]+),cn=gssapi,cn=auth$" "uid=$1,ou=people,dc=example,dc=com"\n'
"""slapd.conf: the entry of ``alice@EXAMPLE.COM``, where that is the server's own realm (``sasl-realm``)."""
