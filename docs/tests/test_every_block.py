"""No code block of any page is untried: a walk runs it, or the test of its language, or one that is named here.

What has no language is no code: a picture, or what is printed; ``text`` likewise.

| language | tried by |
|---|---|
| on a page of ``WALKED`` | ``test_walks.py``: written and executed in order |
| ``python``, ``toml``, ``console`` | ``test_blocks.py``: run; made a server of; every command and option is there |
| the others | here: by the program that they are for, or by a parser of their language |
| ``HELD`` | elsewhere, in the very words |
"""

import json
import os
import re
import shutil
import subprocess
from collections.abc import Callable, Generator
from pathlib import Path

import cedarpy
import graphql
import pytest
import yaml
from docs_blocks import PAGES, ROOT, Block, blocks

from actas.testing.node import node_program
from actas.testing.pki import CertificateAuthority
from actas.testing.postgres import EmbeddedPostgres

ALL = [block for page in PAGES for block in blocks(page) if block.language not in ("", "text") and not block.walked]
ELSEWHERE = {"python", "toml", "console"}
"""Languages that ``test_blocks.py`` tries, wherever they stand."""

HELD = {
    "docs/how-to/choose-a-postgresql-identity.md:ini": "packages/delegation-sql/tests/test_servers.py",
    "docs/how-to/files.md:ini": "packages/delegation-filesystem/tests/test_how_to.py",
    "docs/how-to/postgresql-kerberos.md:ini": "docs/tests/test_tickets.py",
    "docs/how-to/several-tenants.md:sql": "docs/tests/test_several_databases.py",
    "docs/how-to/connect-postgresql-over-tls.md:conf": "docs/tests/test_pages.py",
    "docs/how-to/smb-shares.md:conf": "packages/delegation-kerberos/tests/test_smb_page.py",
    "docs/reference/sql-results.md:json": "docs/tests/test_sql_results.py",
    "docs/reference/audit.md:json": "docs/tests/test_pages.py",
    "docs/how-to/ldap-openldap.md:conf": "packages/delegation-ldap/tests/test_documentation.py",
    "docs/how-to/ldap-openldap.md:ldif": "packages/delegation-ldap/tests/test_documentation.py",
    "packages/delegation-ldap/README.md:ldif": "packages/delegation-ldap/tests/test_documentation.py",
    "docs/how-to/kerberos.md:kadmin": "packages/delegation-kerberos/tests/test_docs.py",
    "docs/how-to/kerberos.md:ldif": "packages/delegation-kerberos/tests/test_docs.py",
    "docs/how-to/kerberos.md:conf": "packages/delegation-kerberos/tests/test_docs.py",
}
"""Blocks of a page in one language that a test of their own tries."""
UNTRIED = {
    "docs/how-to/kerberos-active-directory.md:powershell": "there is no Active Directory on a machine like this",
    "docs/how-to/sql-server.md:sql": "there is no SQL Server on a machine like this; the wire is proven by a peer",
    "docs/how-to/ldap-active-directory.md:powershell": "there is no Active Directory on a machine like this",
    "docs/how-to/audit.md:conf": "logrotate's; that a renamed file is noticed is tested in core's test_audit.py",
    "docs/how-to/providers/auth0.md:js": "runs at Auth0; looked at by node below, as all of its language",
}
"""What cannot be tried here, and why. Every line is one that a reader has to take on trust."""

BEFORE = {
    "docs/how-to/policies-on-token-claims.md": """
        CREATE ROLE app_users; CREATE TABLE documents (tenant text); CREATE SCHEMA actas;
        CREATE FUNCTION actas.set_key(text) RETURNS void LANGUAGE sql AS '';
        CREATE FUNCTION actas.claims() RETURNS jsonb LANGUAGE sql STABLE AS 'SELECT NULL::jsonb';
    """,
    "packages/delegation-sql/README.md": "CREATE TABLE notes (owner name);",
}
"""What a page's statements find in the database."""


def key(block: Block) -> str:
    return f"{block.page}:{block.language}"


def of(*languages: str) -> list[Block]:
    return [block for block in ALL if block.language in languages and key(block) not in UNTRIED]


@pytest.fixture(scope="module")
def database() -> Generator[EmbeddedPostgres]:
    """A PostgreSQL without the roles that pages make."""
    with EmbeddedPostgres() as server:
        server.sql("DROP ROLE app_users")
        yield server


@pytest.mark.parametrize("page", sorted({block.page for block in of("sql") if key(block) not in HELD}))
def test_statements_are_executed_in_their_order(page: str, database: EmbeddedPostgres) -> None:
    """All that a page has, in one transaction that is taken back."""
    statements = "\n".join(block.text for block in of("sql") if block.page == page)
    database.sql(f"BEGIN;\n{BEFORE.get(page, '')}\n{statements}\nROLLBACK;")


SHOWN = {"pg_hba.conf": "pg_hba_file_rules", "pg_ident.conf": "pg_ident_file_mappings"}
"""The views in which PostgreSQL tells what it makes of its files."""
BUILT_WITHOUT = re.compile(r"SSL is (disabled|not supported)|not supported by this build|oauth_validator_libraries")
"""What the embedded server says of lines that are right, but need TLS or a validator."""


@pytest.mark.parametrize("block", of("conf"), ids=str)
def test_postgresql_reads_its_files(block: Block, database: EmbeddedPostgres) -> None:
    file = block.title.partition(" ")[0]
    if file not in SHOWN:
        assert key(block) in HELD, f"{block}: which program reads this? Name the file after `conf`"
        return
    path = database.folder / "data" / file
    own = path.read_text()
    try:
        path.write_text(own + block.text)
        first = len(own.splitlines())
        where = f"WHERE line_number > {first}"
        told = database.sql(f"SELECT error FROM {SHOWN[file]} {where} AND error IS NOT NULL").splitlines()
        read = int(database.sql(f"SELECT count(*) FROM {SHOWN[file]} {where}"))
    finally:
        path.write_text(own)
    assert read == sum(bool(line.strip()) and not line.startswith("#") for line in block.text.splitlines())
    assert [error for error in told if not BUILT_WITHOUT.search(error)] == []


NGINX = shutil.which("nginx", path=f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/usr/local/sbin")


@pytest.mark.parametrize("block", of("nginx"), ids=str)
def test_nginx_takes_it(block: Block, tmp_path: Path) -> None:
    if NGINX is None:
        assert "CI" not in os.environ, "nginx is missing: apt-get install nginx"
        pytest.skip("nginx is not installed")
    authority = CertificateAuthority(tmp_path)
    files = authority.issue_server("mcp.example.com")
    text = block.text if "server {" in block.text else f"server {{\n{block.text}\n}}"
    for theirs, ours in (
        (r"/etc/ssl/client-ca\.pem", authority.certificate),
        (r"/etc/ssl/[\w.]+\.pem", files.certificate),
        (r"/etc/ssl/[\w.]+\.key", files.key),
    ):
        text = re.sub(theirs, str(ours), text)
    folders = "".join(f"{each}_temp_path {tmp_path}/{each};\n" for each in ("proxy", "fastcgi", "uwsgi", "scgi"))
    around = f"http {{\naccess_log off;\nclient_body_temp_path {tmp_path}/body;\n{folders}{text}\n}}\n"
    (tmp_path / "nginx.conf").write_text(f"pid {tmp_path}/pid;\nerror_log {tmp_path}/log;\nevents {{}}\n{around}")
    command = [NGINX, "-t", "-e", str(tmp_path / "log"), "-p", str(tmp_path), "-c", str(tmp_path / "nginx.conf")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30)
    assert done.returncode == 0, done.stderr


def node_check(text: str, folder: Path) -> None:
    (folder / "block.js").write_text(text)
    done = subprocess.run([node_program(), "--check", folder / "block.js"], capture_output=True, text=True, timeout=30)
    assert done.returncode == 0, done.stderr


def unit_file(text: str, folder: Path) -> None:
    """What systemd and pgbouncer read alike: sections, and one ``name = value`` a line."""
    for line in text.splitlines():
        assert not line or re.fullmatch(r"\[\w+\]|[\w-]+ ?=.*|[#;].*", line), line


def pipelined(text: str, folder: Path) -> None:
    """JSON, or a line of it each."""
    try:
        json.loads(text)
    except ValueError:
        for line in text.splitlines():
            json.loads(line)


PARSERS: dict[str, Callable[[str, Path], object]] = {
    "json": pipelined,
    "graphql": lambda text, _: graphql.parse(text),
    "cedar": lambda text, _: json.loads(cedarpy.policies_to_json_str(text)),
    "yaml": lambda text, _: yaml.safe_load(text),
    "js": node_check,
    "ini": unit_file,
}
PARSED = [block for block in ALL if block.language in PARSERS]


@pytest.mark.parametrize("block", PARSED, ids=str)
def test_a_parser_of_its_language_takes_it(block: Block, tmp_path: Path) -> None:
    PARSERS[block.language](block.text, tmp_path)


@pytest.mark.parametrize(
    ("language", "wrong"),
    [
        ("json", '{"a": }'),
        ("graphql", "query { orders("),
        ("cedar", "permit(principal, action);"),
        ("yaml", "a: [1"),
        ("js", "exports.x = async (event => {"),
        ("ini", "[Unit]\nwithout a value"),
    ],
)
def test_a_parser_does_not_take_everything(language: str, wrong: str, tmp_path: Path) -> None:
    with pytest.raises(Exception, match=r"."):
        PARSERS[language](wrong, tmp_path)


def test_every_block_is_tried_by_somebody() -> None:
    tried = ELSEWHERE | set(PARSERS) | {"sql", "conf", "nginx"}
    nobody = [str(block) for block in ALL if block.language not in tried and key(block) not in {*HELD, *UNTRIED}]
    assert nobody == [], "say in this file how blocks of this language are tried"


def test_what_is_held_elsewhere_is_there_and_what_is_untried_still_stands() -> None:
    there = {key(block) for block in ALL}
    assert {*HELD, *UNTRIED} - there == set(), "these blocks are gone"
    for name, test in HELD.items():
        page = name.partition(":")[0]
        assert Path(page).name in (ROOT / test).read_text(), f"{test} does not name {page}"


COMMAND = re.compile(
    r"^ *\$? ?(pip|uv|actas|nox|make|python3?|curl|git|psql|docker|kubectl|sudo|apt(-get)?) \w", re.MULTILINE
)


def test_commands_do_not_hide_in_blocks_without_a_language() -> None:
    plain = [block for page in PAGES for block in blocks(page) if block.language in ("", "text")]
    assert [str(block) for block in plain if COMMAND.search(block.text)] == []
