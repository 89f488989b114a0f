"""One replica of a server, for the test of several: exchanges one token many times at once when it is told to go."""

import asyncio
import hashlib
import json
import sys

from actas.core import Secret
from actas.core.roles import Permissions
from actas.http import HttpClient
from actas.oauth import Authenticator, TrustedIssuer
from actas.oauth.client_settings import ClientCredentials
from actas.oauth.exchange.exchanger import Exchanger
from actas.oauth.exchange.settings import CacheSettings, ExchangeSettings
from actas.oauth.exchange.shared import SharedEntries
from actas.oauth.exchange.vault import Vault
from actas.oauth.shared_store import SharedStore


async def main(told: dict[str, str]) -> None:
    issuer = TrustedIssuer(name="demo", issuer=told["issuer"], audience=["https://mcp.example/mcp"])
    http = HttpClient()
    session = await Authenticator([issuer], Permissions(), http=http).authenticate(told["token"])
    store = SharedStore(told["redis"], {})
    exchanger = Exchanger(
        ExchangeSettings(
            idp="demo",
            client=ClientCredentials(id="gateway", secret=Secret("s")),
            audience=["https://api.example"],
            cache=CacheSettings(enabled=True),
        ),
        issuer,
        http=http,
        vault=Vault([b"a secret of at least thirty-two bytes"]),
        shared=SharedEntries(store),
    )
    print("ready", flush=True)
    await asyncio.to_thread(sys.stdin.readline)
    credentials = await asyncio.gather(*(exchanger.obtain(session) for _ in range(int(told["calls"]))))
    for credential in credentials:
        print(hashlib.sha256(credential.token.reveal().encode()).hexdigest())
    await store.aclose()
    await http.aclose()


asyncio.run(main(json.loads(sys.argv[1])))
