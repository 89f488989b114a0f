"""What docs/how-to/smb-shares.md says of a stand-alone Samba leads to a file that alice reads."""

import re
from pathlib import Path

import pytest
from smb_stage import ALICE, other_server, staged

from actas.core import CredentialRejected
from actas.testing.kdc import KerberosRealm

PAGE = Path(__file__).parents[3] / "docs" / "how-to" / "smb-shares.md"

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.skipif(not PAGE.exists(), reason="the pages are in the repository, not in this distribution's sources"),
]

NAME, KEYTAB = "files.example.com", "/etc/samba/cifs.keytab"


async def test_the_page_leads_to_a_file_that_alice_reads(own_realm: KerberosRealm) -> None:
    text = PAGE.read_text()
    keytab = own_realm.keytab("cifs/localhost")
    for query in re.findall(r"^kadmin: (.+)$", text, re.MULTILINE):
        own_realm.administer(query.replace(KEYTAB, str(keytab)).replace(NAME, "localhost"))
    (written,) = re.findall(r"```conf smb.conf\n\[global\]\n(.*?)```", text, re.DOTALL)
    lines = "\n".join(line.strip() for line in written.replace(KEYTAB, str(keytab)).splitlines())
    async with other_server(own_realm, lines) as server:
        server.write("alice.txt", b"of alice", owner="alice")
        async with staged(own_realm, server) as stage:
            assert (await stage.data(ALICE, "read-file", "alice.txt"))["contents"] == "of alice"


async def test_without_the_flag_that_the_page_names_the_server_takes_no_ticket(own_realm: KerberosRealm) -> None:
    own_realm.add_service("cifs/localhost")
    async with other_server(own_realm) as server, staged(own_realm, server) as stage:
        with pytest.raises(CredentialRejected) as caught:
            await stage.call(ALICE, "list-directory")
    assert "0xc00000a8" in str(caught.value.detail)
