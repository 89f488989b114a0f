"""From an attribute's values to JSON: text where it is text, and base64 where it is not."""

import base64
import uuid

from actas.delegation.ldap.allowlists import AllowLists, without_options
from actas.delegation.ldap.messages import Entry

_BINARY = frozenset(
    each.lower()
    for each in (
        "jpegPhoto thumbnailPhoto thumbnailLogo photo audio userCertificate cACertificate userSMIMECertificate "
        "userPKCS12 certificateRevocationList authorityRevocationList crossCertificatePair nTSecurityDescriptor "
        "mS-DS-ConsistencyGuid msExchMailboxGuid logonHours"
    ).split()
)


def shown(entry: Entry, allowed: AllowLists) -> dict[str, object]:
    """An entry as JSON: its name, what may be returned of its attributes, and which of them are base64."""
    attributes: dict[str, list[str]] = {}
    encoded: list[str] = []
    cut: list[str] = []
    for described, values in entry.attributes.items():
        if not allowed.may_return(described):
            continue
        name, ranged = _without_range(described)
        if ranged:
            cut.append(name)
            if not values:
                continue
        read = [_text(without_options(name), value) for value in values]
        if any(each is None for each in read):
            encoded.append(name)
            attributes[name] = [base64.b64encode(value).decode() for value in values]
        else:
            attributes[name] = [each for each in read if each is not None]
    made: dict[str, object] = {"entry": entry.name, "attributes": attributes}
    if encoded:
        made["base64"] = encoded
    if cut:
        made["incomplete"] = sorted(set(cut))
    return made


def _without_range(described: str) -> tuple[str, bool]:
    """Active Directory gives the values of large attributes in pieces: ``member;range=0-1499``."""
    name, *options = described.split(";")
    kept = [option for option in options if not option.lower().startswith("range=")]
    ranged = len(kept) < len(options) and not described.endswith("-*")
    return ";".join([name, *kept]), ranged


def _text(attribute: str, value: bytes) -> str | None:
    if attribute == "objectguid" and len(value) == 16:
        return str(uuid.UUID(bytes_le=value))
    if attribute in ("objectsid", "sidhistory"):
        return _sid(value)
    if attribute in _BINARY:
        return None
    try:
        text = value.decode()
    except UnicodeDecodeError:
        return None
    return None if "\0" in text else text


def _sid(value: bytes) -> str | None:
    """``S-1-5-21-…`` (MS-DTYP section 2.4.2)."""
    if len(value) < 8 or len(value) != 8 + 4 * value[1]:
        return None
    parts = [int.from_bytes(value[at : at + 4], "little") for at in range(8, len(value), 4)]
    return "-".join(["S", str(value[0]), str(int.from_bytes(value[2:8])), *map(str, parts)])
