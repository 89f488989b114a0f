"""What ``actas new`` can make, and in what the kinds differ besides their templates."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum


class KindName(StrEnum):
    """What stands behind the plug-in."""

    REST = "rest"
    GRAPHQL = "graphql"
    GRPC = "grpc"
    LDAP = "ldap"
    SQL = "sql"
    FILESYSTEM = "filesystem"
    CUSTOM = "custom"


_CI_STEP = "      - run: sudo apt-get install -y --no-install-recommends "


@dataclass(frozen=True, kw_only=True)
class Kind:
    """One kind: what fills the places that its templates and the common ones have between ``@`` signs."""

    about: str
    """What the plug-in is for, as the beginning of a sentence."""
    identity: str
    """How the system behind learns who the user is, for the README."""
    readme: str = ""
    """The settings that the README shows, as TOML."""
    exchanging: bool = False
    """Whether the system takes a token that is exchanged for the caller's."""
    extras: str = ""
    """Extras of actas that the plug-in itself needs."""
    needs: tuple[str, ...] = ()
    """What the plug-in needs besides actas."""
    tests: tuple[str, ...] = ()
    """What its tests need besides."""
    types: tuple[str, ...] = ()
    """What its type checkers need besides."""
    fixtures: tuple[str, ...] = field(default=("kit", "table"))
    """The fixtures in ``tests/downstream.py``."""
    warnings: tuple[str, ...] = ()
    """Warnings of what it needs that its tests pass over, as pytest writes them."""
    debian: str = ""
    """Packages of Debian's that its tests need."""

    def fragments(self, compatible: str) -> Mapping[str, str]:
        """The text for each place. ``compatible``: the versions of actas that will do."""
        actas = f"actas{f'[{self.extras}]' if self.extras else ''}{compatible}"
        checkers = ("build>=1.2", "mypy>=1.18", "pyright[nodejs]>=1.1.400", "ruff>=0.14")
        fixtures = sorted(self.fixtures)
        return {
            "about": self.about,
            "identity": self.identity,
            "readme": self.readme,
            "dependencies": _strings(actas, *self.needs),
            "test": _strings(f"actas[server,testing]{compatible}", "pytest>=9", *self.tests),
            "dev": _strings(*checkers, *self.types),
            "warnings": ", ".join(f'"{warning}"' for warning in ("error", *self.warnings)),
            "fixtures": ", ".join(fixtures),
            "all": _strings("exchanging", *fixtures),
            "ci": f"      - run: sudo apt-get install -y --no-install-recommends {self.debian}\n"
            if self.debian
            else "",
            "needs": f"\nThe tests need Debian's `{self.debian}`.\n" if self.debian else "",
        }


def _strings(*items: str) -> str:
    return ", ".join(f'"{item}"' for item in sorted(items, key=lambda item: (not item.startswith("actas"), item)))


_NAMED = (
    "The system knows the caller by `legacy_username`, a claim that the server's operator maps in `claim_mappings`."
)
_EXCHANGED = (
    "The service knows the caller by a token of its own, which the server exchanges for the caller's: `token_exchange` "
    "is required. The caller's own token is never sent there."
)

_EXCHANGE = """
[delegation.modules.example-plugin.token_exchange]
idp = "acme"
client = { id = "gateway", secret = { "$secret" = "GATEWAY_SECRET" } }
audience = ["https://notes.example"]"""

KINDS: Mapping[KindName, Kind] = {
    KindName.REST: Kind(
        about="A REST service",
        identity=_EXCHANGED,
        readme=f'url = "https://notes.example.com"\n{_EXCHANGE}',
        exchanging=True,
        extras="http",
        fixtures=("kit", "service", "table"),
    ),
    KindName.GRAPHQL: Kind(
        about="A GraphQL service",
        identity=_EXCHANGED,
        readme=f'url = "https://notes.example.com/graphql"\n{_EXCHANGE}',
        exchanging=True,
        extras="http",
        tests=("graphql-core>=3.2",),
        fixtures=("kit", "service", "table"),
    ),
    KindName.GRPC: Kind(
        about="A gRPC service",
        identity=_EXCHANGED,
        readme=f'host = "notes.example.com"\n{_EXCHANGE}',
        exchanging=True,
        needs=("grpcio>=1.76", "protobuf>=6.30"),
        types=("types-grpcio", "types-protobuf"),
        fixtures=("kit", "service", "table"),
    ),
    KindName.LDAP: Kind(
        about="A directory",
        identity=f"{_NAMED} It is a `uid` below `people`. The directory is told once whom the gateway may act as: "
        "OpenLDAP in `authzTo` of the gateway's own entry, with `authz-policy to`.",
        readme='host = "ldap.example.com"\ngateway = "cn=gateway,ou=services,dc=example,dc=com"\n'
        'password = { "$secret" = "GATEWAY_PASSWORD" }\npeople = "ou=people,dc=example,dc=com"\n'
        'notes = "ou=notes,dc=example,dc=com"',
        needs=("ldap3>=2.9.1,<3",),
        types=("types-ldap3",),
        warnings=("ignore::DeprecationWarning:ldap3", "ignore:unclosed <socket:ResourceWarning"),
        fixtures=("directory", "kit", "table"),
        debian="slapd ldap-utils",
    ),
    KindName.SQL: Kind(
        about="A database",
        identity=f"{_NAMED} PostgreSQL is told who may log in as whom by two lines, for the account of the server:"
        "\n\n```\n# pg_hba.conf\nlocal   notes   +app_users   peer   map=actas\n"
        "# pg_ident.conf\nactas   the_servers_account   +app_users\n```",
        readme='database = "notes"',
        needs=("psycopg[binary]>=3.2",),
        fixtures=("kit", "postgres", "table"),
    ),
    KindName.FILESYSTEM: Kind(
        about="Files",
        identity=f"{_NAMED} It is the name of the caller's folder below `root`.",
        readme='root = "/srv/notes"',
        fixtures=("kit", "root", "table"),
    ),
    KindName.CUSTOM: Kind(about="Notes", identity=_NAMED, readme="longest = 500"),
}
