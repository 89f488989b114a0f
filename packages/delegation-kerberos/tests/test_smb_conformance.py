"""The suite that every module must pass, with the shares; one of them is a server that hangs."""

from collections.abc import Iterator
from dataclasses import replace

import pytest
from kerberos_stage import ALICE as TICKETS_ALICE
from kerberos_stage import settings_for
from smb_meddler import Meddler
from smb_stage import ALICE, BOB, ShareSettings

from actas.delegation.kerberos.module import KerberosDelegation
from actas.delegation.kerberos.settings import KerberosSettings
from actas.delegation.kerberos.smb_settings import SmbSettings
from actas.testing.conformance import ModuleConformance, ModuleKit
from actas.testing.kdc import KerberosRealm
from actas.testing.samba import SambaServer


class TestShares(ModuleConformance):
    @pytest.fixture
    def kit(self, realm: KerberosRealm, samba: SambaServer) -> Iterator[ModuleKit]:
        samba.write("conformance/file.txt", b"of everybody", owner="alice", mode=0o644)
        realm.allow("gateway/mcp.example.com", samba.service)
        file = {"path": "//localhost/files/conformance/file.txt"}
        permissions = TICKETS_ALICE.permissions | ALICE.permissions
        with Meddler(samba.port, lambda message: b"") as silent:
            settings = settings_for(
                realm,
                targets=[samba.service],
                smb=SmbSettings(
                    allow=[
                        ShareSettings(server="localhost", share="files", port=samba.port),
                        ShareSettings(server="localhost", share="silent", port=silent.port),
                    ]
                ),
            )
            yield ModuleKit(
                make=lambda: KerberosDelegation(settings),
                alice=replace(ALICE, permissions=permissions),
                bob=replace(BOB, permissions=permissions),
                parameters={
                    "s4u2self": {},
                    "s4u2proxy": {"target": samba.service},
                    "delegate": {"action": "s4u2proxy", "targetSPN": samba.service},
                    "list-directory": {"path": "//localhost/files/conformance"},
                    "read-file": file,
                    "file-info": file,
                },
                settings=KerberosSettings,
                plugin="actas.delegation.kerberos.plugin",
                heavy_imports=["gssapi", "krb5", "smbprotocol", "spnego"],
                slow=("read-file", {"path": "//localhost/silent/x"}),
            )
