"""Without the extra that has the SMB client."""

import subprocess
import sys

CODE = """
import sys
sys.modules["smbprotocol"] = None
from actas.core import ConfigurationError
from actas.delegation.kerberos.module import KerberosDelegation
from actas.delegation.kerberos.settings import KerberosSettings
from actas.delegation.kerberos.smb_settings import ShareSettings, SmbSettings
settings = {"principal": "gateway/a.example.com@EXAMPLE.COM", "keytab": "/k", "targets": ["cifs/b.example.com"]}
KerberosDelegation(KerberosSettings(**settings))
try:
    shares = SmbSettings(allow=[ShareSettings(server="b.example.com", share="c")])
    KerberosDelegation(KerberosSettings(**settings, smb=shares))
except ConfigurationError as error:
    print(error.message)
"""


def test_only_who_lists_shares_needs_the_client_and_is_told_what_to_install() -> None:
    done = subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True, check=True)
    assert 'pip install "actas[smb]"' in done.stdout
