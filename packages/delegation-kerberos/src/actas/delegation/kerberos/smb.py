"""Files on shares, where the settings list any. Imports no SMB client before that."""

from actas.core.errors import ConfigurationError
from actas.delegation.kerberos.services import Service
from actas.delegation.kerberos.settings import KerberosSettings
from actas.delegation.kerberos.smb_checks import problems


def smb(settings: KerberosSettings, wrong: list[str]) -> Service | None:
    """The shares of the module; None where there are none. See :data:`~.services.ServiceMaker`.

    Raises:
        ConfigurationError: the extra ``smb`` is not installed.
    """
    found = problems(settings)
    wrong += found
    if found or not settings.smb.allow:
        return None
    try:
        from actas.delegation.kerberos.smb_shares import FileShares
    except ModuleNotFoundError as error:
        if error.name not in ("smbprotocol", "spnego"):
            raise
        raise ConfigurationError('smb: files on shares need: pip install "actas[smb]"') from None

    return FileShares(settings.smb)
