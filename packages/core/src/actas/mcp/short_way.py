"""The short way for the two requests that make up nearly all traffic: ``tools/list`` and ``tools/call``.

It takes only what it understands whole, and hands everything else, byte for byte, to the SDK's
endpoint: other methods, headers it does not expect, anything malformed. It decides nothing: what a
caller sees and may call is the guard's answer on both ways. A differential fuzz test holds the two
ways together; docs/decisions/0004-short-way.md says why there are two.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, cast

import orjson
import pydantic_core
from mcp_types import methods
from pydantic import ValidationError

from actas.core import ActasError, InsufficientScope, Session
from actas.mcp.attendance import Attendance, TakenBack, hears_events
from actas.mcp.challenge import Challenges
from actas.mcp.encoding import encode
from actas.mcp.endpoint import MODERN, McpEndpoint
from actas.mcp.guard import Guard, View, failed
from actas.mcp.handlers import LIST_HINT
from actas.mcp.request_body import read_body
from actas.mcp.running import RunningCalls
from actas.oauth.asgi import Receive, Scope, Send, respond

_HANDSHAKE: Final = frozenset({"2025-03-26", "2025-06-18", "2025-11-25"})

_VERSION_KEY: Final = "io.modelcontextprotocol/protocolVersion"
_CAPABILITIES_KEY: Final = "io.modelcontextprotocol/clientCapabilities"
_ENVELOPE: Final = frozenset({_VERSION_KEY, _CAPABILITIES_KEY, "io.modelcontextprotocol/clientInfo"})
_SERVER_INFO_KEY: Final = "io.modelcontextprotocol/serverInfo"

_REQUEST_KEYS: Final = frozenset({"jsonrpc", "id", "method", "params"})
_CALL_KEYS: Final = frozenset({"name", "arguments", "_meta"})

_ONCE: Final = frozenset(
    {b"host", b"content-type", b"content-length", b"accept", b"mcp-protocol-version", b"mcp-method", b"mcp-name"}
)
"""Headers that are looked at; a second one of a kind is the SDK's to judge."""
_NEVER: Final = frozenset({b"origin", b"transfer-encoding", b"mcp-session-id", b"last-event-id", b"content-encoding"})

_LONGEST_BODY: Final = 65_536
_MOST_REMEMBERED: Final = 512

_JSON: Final = [(b"content-type", b"application/json")]

Headers = dict[bytes, bytes]
_Json = dict[str, Any]  # Any: JSON


@dataclass(frozen=True, slots=True)
class _Request:
    """A request that was understood whole. ``arguments`` is None for ``tools/list``."""

    id: int | str
    version: str
    name: str = ""
    arguments: Mapping[str, object] | None = None
    progress_token: str | int | None = None


class ShortWay:
    """An MCP endpoint that answers what it understands and leaves the rest to ``endpoint``.

    Args:
        endpoint: the SDK's way.
        guard: the same that ``endpoint`` asks.
        challenges: for the step-up.
        server_info: what modern results are stamped with.
        allowed_hosts: as ``endpoint`` has them.
        running: the calls that can be taken back; as ``endpoint`` has them.
    """

    def __init__(
        self,
        endpoint: McpEndpoint,
        guard: Guard,
        challenges: Challenges,
        *,
        server_info: _Json,
        allowed_hosts: list[str],
        running: RunningCalls,
    ) -> None:
        self._endpoint = endpoint
        self._guard = guard
        self._challenges = challenges
        self._stamp = {_SERVER_INFO_KEY: server_info}
        self._allowed_hosts = allowed_hosts
        self._running = running
        self._good_headers: set[tuple[bytes, bytes]] = set()
        self._good_envelopes: set[bytes] = set()
        self._lists: dict[tuple[str, View], bytes] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send, session: Session) -> None:
        """Serve one request as ``session``."""
        headers = self._plain_headers(scope)
        if headers is None:
            await self._endpoint(scope, receive, send, session)
            return
        read = await read_body(receive, int(headers[b"content-length"]))
        request = self._understand(headers, read.body) if read.whole else None
        if request is None or (request.arguments is not None and not await self._visible(session, request.name)):
            await self._endpoint(scope, read.replay(receive), send, session)
            return
        if request.arguments is None:
            await respond(send, 200, _JSON, _response(request.id, await self._list(session, request.version)))
            return
        await self._call(request, request.arguments, session, self._attendance(request, headers, receive, send))

    def _attendance(self, request: _Request, headers: Headers, receive: Receive, send: Send) -> Attendance:
        attendance = Attendance(
            receive,
            send,
            watch_with=self._running if request.version == MODERN else None,
            body_read=True,
            hears=request.progress_token is not None and hears_events(headers[b"accept"]),
        )
        attendance.report(request.progress_token)
        return attendance

    async def _call(
        self, request: _Request, arguments: Mapping[str, object], session: Session, attendance: Attendance
    ) -> None:
        try:
            call = attendance.run(self._guard.call(session, request.name, arguments))
            if request.version == MODERN:
                result = await call  # no notification takes it back
            else:
                with self._running.listed(session, request.id, attendance.take_back):
                    result = await call
        except TakenBack:
            await attendance.answer_nothing()
            return
        except ActasError as error:
            if attendance.begun:
                result = failed(error)  # too late for a status
            elif isinstance(error, InsufficientScope):
                refusal = self._challenges.step_up(error, session)
                await respond(attendance.send, refusal.status, refusal.headers, refusal.body)
                return
            else:
                raise
        body = _response(request.id, self._shaped(result, request.version))
        await respond(attendance.send, 200, _JSON, body)

    async def _visible(self, session: Session, name: str) -> bool:
        return name in (await self._guard.view(session)).tools

    def _plain_headers(self, scope: Scope) -> Headers | None:
        """The headers that matter, if this is a request whose headers are all as expected."""
        if scope["method"] != "POST" or scope["query_string"]:
            return None
        found: Headers = {}
        for name, value in cast("list[tuple[bytes, bytes]]", scope["headers"]):
            if name in _ONCE:
                if name in found:
                    return None
                found[name] = value
            elif name in _NEVER or name.startswith(b"mcp-param-"):
                return None
        length = found.get(b"content-length", b"")
        if found.get(b"content-type") != b"application/json" or not length.isdigit() or len(length) > 5:
            return None
        if int(length) > _LONGEST_BODY or not self._accepted(found.get(b"host", b""), found.get(b"accept", b"")):
            return None
        return found

    def _accepted(self, host: bytes, accept: bytes) -> bool:
        """Whether both headers are good; the few that real clients send are remembered."""
        if (host, accept) in self._good_headers:
            return True
        name = host.decode("latin-1")
        known = any(name.startswith(a[:-1]) if a.endswith(":*") else name == a for a in self._allowed_hosts)
        kinds = {kind.split(b";")[0].strip().lower() for kind in accept.split(b",")}
        if not name or not known or not kinds & {b"application/json", b"*/*"}:
            return False
        _remember(self._good_headers, (host, accept))
        return True

    def _understand(self, headers: Headers, body: bytes) -> _Request | None:
        """The request, if headers and body are each what is expected and agree with each other."""
        try:
            decoded = pydantic_core.from_json(body, allow_inf_nan=False)
        except ValueError:
            return None
        if type(decoded) is not dict:
            return None
        message = cast("_Json", decoded)
        if not message.keys() <= _REQUEST_KEYS or message.get("jsonrpc") != "2.0":
            return None
        request_id, params = message.get("id"), message.get("params")
        if type(request_id) is not int and type(request_id) is not str:
            return None
        version = headers.get(b"mcp-protocol-version", b"").decode("latin-1")
        if version == MODERN:
            return self._understand_modern(headers, request_id, message.get("method"), params)
        if version in _HANDSHAKE and not {b"mcp-method", b"mcp-name"} & headers.keys():
            return _understand_handshake(version, request_id, message.get("method"), params)
        return None

    def _understand_modern(
        self, headers: Headers, request_id: int | str, method: object, params: object
    ) -> _Request | None:
        if type(params) is not dict or type(method) is not str or headers.get(b"mcp-method") != method.encode():
            return None
        params = cast("_Json", params)
        meta, token = _without_progress_token(params.get("_meta"))
        if not self._good_envelope(meta):
            return None
        if method == "tools/list":
            return _Request(request_id, MODERN) if params.keys() == {"_meta"} else None
        if method != "tools/call" or params.keys() != _CALL_KEYS:
            return None
        name, arguments = params["name"], params["arguments"]
        if type(name) is not str or type(arguments) is not dict or headers.get(b"mcp-name") != name.encode():
            return None
        return _Request(request_id, MODERN, name, cast("_Json", arguments), token)

    def _good_envelope(self, meta: object) -> bool:
        """Whether a modern request's ``_meta`` is valid; a client sends the same one every time."""
        if type(meta) is not dict:
            return False
        meta = cast("_Json", meta)
        try:
            key = orjson.dumps(meta)
        except TypeError:
            return False
        if key in self._good_envelopes:
            return True
        if not meta.keys() <= _ENVELOPE or meta.get(_VERSION_KEY) != MODERN or _CAPABILITIES_KEY not in meta:
            return False
        try:
            methods.validate_client_request("tools/list", MODERN, {"_meta": meta})
        except ValidationError:
            return False
        _remember(self._good_envelopes, key)
        return True

    async def _list(self, session: Session, version: str) -> bytes:
        """The serialised ``tools/list`` result, once per version and view."""
        view = await self._guard.view(session)
        key = (version, view)
        listed = self._lists.get(key)
        if listed is None:
            result = {"tools": view.listing, "resultType": "complete", **LIST_HINT}
            shaped = methods.serialize_server_result("tools/list", version, result)
            if version == MODERN:
                shaped["_meta"] = self._stamp
            if len(self._lists) >= _MOST_REMEMBERED:
                self._lists.clear()
            listed = self._lists[key] = orjson.dumps(shaped)
        return listed

    def _shaped(self, result: _Json, version: str) -> bytes:
        if version == MODERN:
            result["_meta"] = {**result.get("_meta", {}), **self._stamp}
        else:
            del result["resultType"]
        return encode(result)


def _understand_handshake(version: str, request_id: int | str, method: object, params: object) -> _Request | None:
    if method == "tools/list":
        return _Request(request_id, version) if not params and (params is None or type(params) is dict) else None
    if method != "tools/call" or type(params) is not dict:
        return None
    params = cast("_Json", params)
    meta, token = _without_progress_token(params.get("_meta", {}))
    if not params.keys() <= _CALL_KEYS or meta != {}:
        return None
    name, arguments = params.get("name"), params.get("arguments")
    if type(name) is not str or type(arguments) is not dict:
        return None
    return _Request(request_id, version, name, cast("_Json", arguments), token)


def _without_progress_token(meta: object) -> tuple[object, str | int | None]:
    """``meta`` without its progress token, and the token; as it is where it has none, or one of another type."""
    if type(meta) is not dict:
        return meta, None
    meta = cast("_Json", meta)
    token = meta.get("progressToken")
    if type(token) is not int and type(token) is not str:
        return meta, None
    return {key: value for key, value in meta.items() if key != "progressToken"}, token


def _response(request_id: int | str, result: bytes) -> bytes:
    return b'{"jsonrpc":"2.0","id":' + encode(request_id) + b',"result":' + result + b"}"


def _remember(known: set[Any], key: object) -> None:  # Any: sets of several kinds of keys
    if len(known) >= _MOST_REMEMBERED:
        known.clear()
    known.add(key)
