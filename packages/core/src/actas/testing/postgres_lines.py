"""What a PostgreSQL server is told for each identity of :mod:`actas.delegation.sql`: the documentation shows these very
lines, and the tests run with them.
"""

APP_USERS = "app_users"
"""The group role whose members may come through the gateway."""
GATEWAY = "actas-gateway"
"""The common name of the gateway's client certificate."""
SERVICE = "actas_service"
"""The gateway's own role, for the identities that need one."""

PEER_HBA = "local    all  +app_users                 peer  map=gw\n"
"""The line of pg_hba.conf for a gateway on the same machine."""
PEER_IDENT = "gw  {os_user}  +app_users\n"
"""The line of pg_ident.conf for it, PostgreSQL 16 and later."""
CERTIFICATE_HBA = "hostssl  all  +app_users  127.0.0.1/32   cert  map=gw\n"
"""The line of pg_hba.conf for a gateway that shows a client certificate."""
CERTIFICATE_IDENT = "gw  actas-gateway  {user}\n"
"""The line of pg_ident.conf for it, one for each user: all that PostgreSQL 15 and earlier understand."""
ISSUED_IDENT = "gw  /^user:(.*)$  \\1\n"
"""The line of pg_ident.conf for certificates that say who the user is, with the same line of pg_hba.conf."""
OAUTH_LOCAL_HBA = 'local    all  +app_users                 oauth  issuer="{issuer}"  scope="{scope}"\n'
"""The line of pg_hba.conf for users who come with a token of their own, PostgreSQL 18 and later."""
KERBEROS_HBA = "hostssl     all  +app_users  127.0.0.1/32   gss  include_realm=0  krb_realm={realm}\n"
"""The line of pg_hba.conf for users who come with a ticket of their own, over TLS."""
KERBEROS_ENCRYPTED_HBA = "hostgssenc  all  +app_users  127.0.0.1/32   gss  include_realm=0  krb_realm={realm}\n"
"""The same where GSSAPI encrypts."""
SERVICE_PEER_HBA = "local    all  actas_service              peer  map=service\n"
"""The line of pg_hba.conf for the gateway's own role, on the same machine."""
SERVICE_PEER_IDENT = "service  {os_user}  actas_service\n"
"""The line of pg_ident.conf for it."""
SERVICE_CERTIFICATE_HBA = "hostssl  all  actas_service  127.0.0.1/32   cert  map=service\n"
"""The line of pg_hba.conf for the gateway's own role, by its client certificate."""
SERVICE_CERTIFICATE_IDENT = "service  actas-gateway  actas_service\n"
"""The line of pg_ident.conf for it."""
EPHEMERAL_LOCAL_HBA = "local    all  +actas_ephemeral           scram-sha-256\n"
"""The line of pg_hba.conf for the roles that a broker makes, on the same machine. Before that of the users' group."""
EPHEMERAL_HBA = "hostssl  all  +actas_ephemeral  127.0.0.1/32   scram-sha-256\n"
"""The same over the network."""

BROKER_PEER_HBA, BROKER_PEER_IDENT, BROKER_CERTIFICATE_HBA, BROKER_CERTIFICATE_IDENT = (
    line.replace(SERVICE, "actas_broker")
    for line in (SERVICE_PEER_HBA, SERVICE_PEER_IDENT, SERVICE_CERTIFICATE_HBA, SERVICE_CERTIFICATE_IDENT)
)
"""The same four lines for a broker."""

BROKER_SQL = """\
CREATE ROLE actas_broker LOGIN CREATEROLE NOINHERIT;
CREATE ROLE actas_ephemeral NOLOGIN;
GRANT actas_ephemeral TO actas_broker WITH ADMIN OPTION;
"""
"""Makes the broker of ephemeral roles."""
BROKER_USER_SQL = "GRANT {user} TO actas_broker WITH ADMIN OPTION;\n"
"""Lets the broker hand on a user's role."""
SERVICE_SQL = "CREATE ROLE actas_service LOGIN NOINHERIT;\n"
"""Makes the service role that takes the users' roles."""
SERVICE_USER_SQL = "GRANT {user} TO actas_service;\n"
"""Lets it take one. PostgreSQL 16 and later also understand, and need here, `WITH INHERIT FALSE`."""
BELTS_SQL = """\
REVOKE EXECUTE ON FUNCTION pg_catalog.set_config(text, text, boolean) FROM PUBLIC;
REVOKE UPDATE ON pg_catalog.pg_settings FROM PUBLIC;
REVOKE USAGE ON LANGUAGE sql, plpgsql FROM PUBLIC;
REVOKE TEMPORARY ON DATABASE {database} FROM PUBLIC;
"""
"""Closes a database against changing roles, in that database."""

PGBOUNCER_INI = """\
[databases]
app = host={host} port={port} dbname=app

[pgbouncer]
listen_addr =
unix_socket_dir = {folder}
unix_socket_mode = 0700
listen_port = 6432
auth_type = trust
auth_file = {folder}/users.txt
pool_mode = transaction
server_reset_query = DISCARD ALL
server_reset_query_always = 1
server_tls_sslmode = verify-full
server_tls_ca_file = {folder}/ca.crt
server_tls_cert_file = {folder}/gateway.crt
server_tls_key_file = {folder}/gateway.key
"""
"""pgbouncer beside the gateway, under the gateway's account: nobody else gets at its socket."""
