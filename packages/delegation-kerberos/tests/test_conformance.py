"""The suite that every delegation module must pass."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from kerberos_stage import ALICE, BOB, WEB, settings_for
from kerberos_web import WebService

from actas.delegation.kerberos.module import KerberosDelegation
from actas.delegation.kerberos.settings import HttpServiceSettings, KerberosSettings, LimitSettings
from actas.testing.conformance import ModuleConformance, ModuleKit
from actas.testing.kdc import KerberosRealm


@contextmanager
def _outage(realm: KerberosRealm) -> Iterator[None]:
    realm.kill()
    try:
        yield
    finally:
        realm.start()


class TestKerberosDelegation(ModuleConformance):
    @pytest.fixture
    def service(self, realm: KerberosRealm) -> Iterator[WebService]:
        with WebService(realm.keytab(WEB)) as running:
            yield running

    @pytest.fixture
    def kit(self, realm: KerberosRealm, service: WebService, tmp_path: Path) -> ModuleKit:
        allow = ["GET /reports/{id}", "GET /slow/{seconds}"]
        site = HttpServiceSettings(base_url=service.base, description="The company's reports.", allow=allow)
        settings = settings_for(realm, http={"intranet": site})
        dead = replace(
            settings,
            principal="gateway/mcp.example.com@DEAD.EXAMPLE.COM",
            targets=["HTTP/localhost"],
            limits=LimitSettings(kdc_seconds=1),
        )
        return ModuleKit(
            make=lambda: KerberosDelegation(settings),
            make_dead=lambda: KerberosDelegation(dead),
            alice=ALICE,
            bob=BOB,
            parameters={
                "s4u2self": {},
                "s4u2proxy": {"target": WEB},
                "delegate": {"action": "s4u2proxy", "targetSPN": WEB},
                "http-intranet": {"path": "/reports/7"},
            },
            slow=("http-intranet", {"path": "/slow/15"}),
            denied=("http-intranet", {"path": "/reports/of-bob"}),
            outage=lambda: _outage(realm),
            settings=KerberosSettings,
            plugin="actas.delegation.kerberos.plugin",
            heavy_imports=["gssapi", "krb5", "httpx", "httpx2"],
        )
