"""Who may talk to the page's server: this machine's browser, on the page itself, and nobody else.

A server on the loopback interface is still within reach of every website the user has open. Three
checks keep them out: the `Host` header must name this server (a foreign name that was made to point
at 127.0.0.1 is refused), an `Origin` header must be the page's own, and whatever changes something
also needs the token that only the address printed by `redrop lab` carries. The answers forbid the
page to load or send anything beyond this server.
"""

import secrets

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

TOKEN_HEADER = "x-redrop-token"
LARGEST_BODY = 64 * 1024
POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self' data:",
        "connect-src 'self'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
    )
)
ANSWER_HEADERS = {
    "content-security-policy": POLICY,
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-resource-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "cache-control": "no-cache",
}


def fresh_token() -> str:
    """Return a token that cannot be guessed: 256 random bits."""
    return secrets.token_urlsafe(32)


class LoopbackOnly:
    """Middleware that refuses requests from elsewhere and adds the headers of `ANSWER_HEADERS`.

    Args:
        app: What answers the requests that pass.
        port: Where the server listens; it is part of an acceptable `Host`.
        token: Needed, in the header `X-Redrop-Token`, by every method but GET and HEAD.
    """

    def __init__(self, app: ASGIApp, port: int, token: str) -> None:
        self.app = app
        self.hosts = {f"{name}:{port}" for name in ("127.0.0.1", "localhost")}
        self.token = token

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        refusal = self._refusal(scope["method"], Headers(scope=scope))

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in ANSWER_HEADERS.items():
                    headers[name] = value
            await send(message)

        answer = self.app if refusal is None else refusal
        await answer(scope, receive, send_with_headers)

    def _refusal(self, method: str, headers: Headers) -> PlainTextResponse | None:
        host = headers.get("host", "")
        if host not in self.hosts:
            return PlainTextResponse("This server answers to 127.0.0.1 only.", 421)
        origin = headers.get("origin")
        if origin is not None and origin != f"http://{host}":
            return PlainTextResponse("Another website may not use this server.", 403)
        if method in ("GET", "HEAD"):
            return None
        if not secrets.compare_digest(headers.get(TOKEN_HEADER, "").encode(), self.token.encode()):
            return PlainTextResponse(
                "Starting and stopping needs the token of the address that `redrop lab` printed.",
                403,
            )
        length = headers.get("content-length", "")
        if not length.isascii() or not length.isdigit() or int(length) > LARGEST_BODY:
            return PlainTextResponse(f"A body of at most {LARGEST_BODY} bytes is needed.", 413)
        return None
