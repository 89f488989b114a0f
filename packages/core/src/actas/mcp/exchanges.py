"""All token exchanges of one configuration: one cache, one client, an exchanger for each module that has one."""

import asyncio
from collections import Counter
from dataclasses import asdict

from actas.core import ConfigurationError
from actas.core.errors import under
from actas.http import HttpClient
from actas.mcp import exchange_meters
from actas.mcp.config_modules import ConfiguredModule
from actas.mcp.settings import AuthSettings
from actas.oauth.denylist import Revocation
from actas.oauth.exchange.exchanger import Exchanger
from actas.oauth.exchange.settings import VaultSettings
from actas.oauth.exchange.shared import SharedEntries
from actas.oauth.exchange.vault import Vault
from actas.oauth.shared_store import SharedStore


class Exchanges:
    """Makes exchangers, and forgets what they keep when it must be forgotten.

    Args:
        auth: what is trusted, and how exchanged tokens are kept.
        store: what several processes share, if they do; stays the caller's to close.

    Raises:
        ConfigurationError: tokens should be shared, and there is no store.
    """

    def __init__(self, auth: AuthSettings, store: SharedStore | None) -> None:
        self._auth = auth
        self._vault = _vault(auth.exchange_cache)
        self._shared = _shared(auth.exchange_cache, store)
        # Not the one that keys are fetched with: a slow token endpoint must not take its connections.
        self._http = HttpClient(auth.http)
        self._exchangers: dict[str, Exchanger] = {}
        self._dropping: set[asyncio.Task[None]] = set()

    def source(self, module: ConfiguredModule) -> Exchanger | None:
        """How the callers' tokens are exchanged for ``module``; None where they are not.

        Raises:
            ConfigurationError: the client's private key cannot be used.
        """
        if module.exchange is None:
            return None
        (provider,) = [issuer for issuer in self._auth.trusted_idps if issuer.name == module.exchange.idp]
        try:
            made = Exchanger(module.exchange, provider, http=self._http, vault=self._vault, shared=self._shared)
        except ConfigurationError as error:
            raise under(f"delegation.modules.{module.name}.token_exchange.client", error) from error
        self._exchangers[module.name] = made
        return made

    def open(self) -> None:
        """Be counted from now on."""
        exchange_meters.watch(self)

    @property
    def entries(self) -> int:
        """Tokens that are kept."""
        return len(self._vault)

    def totals(self) -> exchange_meters.Totals:
        """What has happened so far, for each of :data:`~actas.mcp.exchange_meters.COUNTED`."""
        cache = self._vault.metrics
        totals = Counter({(name, ""): count for name, count in asdict(cache).items()})
        for module, exchanger in self._exchangers.items():
            totals.update({(name, module): count for name, count in asdict(exchanger.metrics).items()})
        return totals

    def left_alone(self) -> list[tuple[str, bool]]:
        """For each module, whether its provider is not asked just now because it has failed repeatedly."""
        return [(module, exchanger.provider_left_alone) for module, exchanger in self._exchangers.items()]

    def forget(self, revoked: list[Revocation]) -> None:
        """Forget what was obtained for ``revoked``, in a shared store before long.

        The door lets none of them in any more, whatever is kept here: this is tidying up, and waits for nothing.
        """
        names = self._vault.forget(revoked)
        if self._shared is not None and names:
            task = asyncio.create_task(_drop(self._shared, names))
            self._dropping.add(task)
            task.add_done_callback(self._dropping.discard)

    async def aclose(self) -> None:
        """End what is under way, and forget everything. May be called twice."""
        exchange_meters.forget(self)
        for exchanger in self._exchangers.values():
            await exchanger.aclose()
        self._vault.clear()
        await asyncio.gather(*self._dropping)
        await self._http.aclose()


async def _drop(shared: SharedEntries, names: list[bytes]) -> None:
    for name in names:
        await shared.drop(name)


def _vault(settings: VaultSettings) -> Vault:
    secrets = [secret.reveal().encode() for secret in settings.secrets]
    return Vault(secrets, most=settings.max_entries, most_each=settings.max_entries_per_user)


def _shared(settings: VaultSettings, store: SharedStore | None) -> SharedEntries | None:
    if not settings.shared:
        return None
    if store is None:
        raise ConfigurationError("auth.exchange_cache.shared: there is no store to share: set shared.url")
    return SharedEntries(store)
