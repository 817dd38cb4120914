"""What every request passes before the app sees it: token and size on the way in, safe headers on the way out."""

import hashlib
import secrets

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from unlatent.platform.serving.errors import Refusal

MAX_BODY_BYTES = 64 << 10  # a request is a few short fields
EDITS = "/v1/images/edits"  # whose requests carry images
SAFE_HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-cache",  # a browser asks whether the page is still the newest
}


class Gate:
    """Refuses a request for its headers before its body is read, and a body as soon as it is too long."""

    def __init__(self, app: ASGIApp, token_digest: str | None, max_upload_bytes: int) -> None:
        self.app, self.token_digest, self.max_upload_bytes = app, token_digest, max_upload_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return

        async def send_safely(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in SAFE_HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        limit = self.max_upload_bytes if scope["path"] == EDITS else MAX_BODY_BYTES
        try:
            self.check(scope["path"], Headers(scope=scope), limit)
        except Refusal as refusal:
            await refusal.response()(scope, receive, send_safely)
        else:
            await self.app(scope, up_to_the_limit(receive, limit), send_safely)

    def check(self, path: str, headers: Headers, limit: int) -> None:
        if self.token_digest and path.startswith("/v1/"):
            scheme, _, given = headers.get("Authorization", "").partition(" ")
            digest = hashlib.sha256(given.encode()).hexdigest()
            if scheme.lower() != "bearer" or not secrets.compare_digest(digest, self.token_digest):
                message = 'a token is needed: send "Authorization: Bearer <token>"'
                raise Refusal(401, message, code="invalid_api_key")
        length = headers.get("Content-Length", "0")
        if not length.isdecimal() or int(length) > limit:
            raise too_large(limit)


def up_to_the_limit(receive: Receive, limit: int) -> Receive:
    """Counts what arrives, for a body that does not say how long it is."""
    received = 0

    async def counted() -> Message:
        nonlocal received
        message = await receive()
        received += len(message.get("body", b""))
        if received > limit:
            raise too_large(limit)
        return message

    return counted


def too_large(limit: int) -> Refusal:
    return Refusal(413, f"the body is over {limit} bytes", code="body_too_large")
