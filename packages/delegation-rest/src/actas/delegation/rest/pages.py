"""Where an answer goes on: the query of the next page, which stays on the same origin and path."""

import re
from urllib.parse import quote, unquote, urlsplit

from actas.delegation.rest.answers import at
from actas.delegation.rest.failures import UnexpectedAnswer
from actas.delegation.rest.settings import PageSettings
from actas.http.query import encoded, never_a_parameter

_LINK = re.compile(
    r'<([^<>"]{1,4000})>\s{0,4}((?:;\s{0,4}[^\s;,="]{1,64}(?:=(?:"[^"]{0,500}"|[^\s;,"]{0,500}))?\s{0,4}){0,20})'
)
"""One link of the header (RFC 8288 section 3)."""
_REL = re.compile(r';\s{0,4}rel=(?:"([^"]*)"|([^\s;,"]+))', re.IGNORECASE)
_LONGEST_LINK = 8000
_QUERY = re.compile(r"[A-Za-z0-9._~!$'()*+,;=:@/?&%-]{0,4000}")
_LONGEST_CURSOR = 2000


def next_query(settings: PageSettings, url: str, link: str, body: object) -> str | None:
    """The query of the page after the one that came from ``url``; None where that was the last.

    Raises:
        UnexpectedAnswer: it leads elsewhere, or is no query.
    """
    if settings.next == "cursor":
        return _by_cursor(settings, url, at(body, settings.cursor))
    return _by_link(url, link)


def _by_cursor(settings: PageSettings, url: str, cursor: object) -> str | None:
    if cursor is None or cursor == "" or cursor is False:
        return None
    if not isinstance(cursor, str | int) or len(str(cursor)) > _LONGEST_CURSOR:
        raise UnexpectedAnswer(detail="the cursor to the next page is no text")
    mine = quote(settings.parameter, safe="")
    others = [part for part in urlsplit(url).query.split("&") if part and part.partition("=")[0] != mine]
    return "&".join([*others, encoded([(settings.parameter, str(cursor))])])


def _by_link(url: str, link: str) -> str | None:
    target = next((each[1] for each in _LINK.finditer(link[:_LONGEST_LINK]) if _is_next(each[2])), None)
    if target is None:
        return None
    here = urlsplit(url)
    try:
        there = urlsplit(target)
    except ValueError:
        raise UnexpectedAnswer(detail="the next page is said to be at no URL") from None
    absolute = bool(there.scheme or there.netloc)
    if absolute and (there.scheme, there.netloc.lower()) != (here.scheme, here.netloc.lower()):
        raise UnexpectedAnswer(detail="the next page is said to be on another origin")
    # "?page=2" is the same path; whatever else is written, it must come to the very same one.
    if (absolute or there.path) and there.path != here.path:
        raise UnexpectedAnswer(detail="the next page is said to be on another path")
    if not _QUERY.fullmatch(there.query):
        raise UnexpectedAnswer(detail="the next page is said to have a query that is none")
    if any(never_a_parameter(unquote(part.partition("=")[0])) for part in there.query.split("&")):
        raise UnexpectedAnswer(detail="the next page is said to have a reserved parameter")
    return there.query


def _is_next(parameters: str) -> bool:
    found = _REL.search(parameters)
    return found is not None and "next" in (found[1] or found[2]).lower().split()
