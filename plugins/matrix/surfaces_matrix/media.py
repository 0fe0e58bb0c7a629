"""Moves files to and from the homeserver's media repository, as streams (Matrix spec, "Content repository")."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from urllib.parse import urlencode

from aiohttp import ClientResponse

from surfaces_core import OpenFile, Rejected, Unavailable
from surfaces_matrix import words
from surfaces_matrix.client import Client, body, quote
from surfaces_matrix.content import Content
from surfaces_matrix.encryption import installed
from surfaces_matrix.errors import Refused
from surfaces_matrix.references import sealed
from surfaces_matrix.shapes import mapping, text

PIECE = 256 * 1024
_URI = re.compile(r"mxc://([A-Za-z0-9.\-:\[\]]{1,255})/([A-Za-z0-9_\-]{1,255})")
_TOO_BIG = frozenset({"M_TOO_LARGE", "M_RESOURCE_LIMIT_EXCEEDED"})


async def upload(client: Client, file: OpenFile, *, timeout_s: float, encrypt: bool = False) -> Content:
    """What an event says of where a file's content is. `Unavailable` or `Rejected`."""
    if not encrypt:
        query = urlencode({"filename": file.ref.name})
        return {"url": await _uploaded(client, file.chunks(), file.ref.mime, file.ref.size, query, timeout_s)}
    from surfaces_matrix.e2ee.attachments import Sealing

    sealing = Sealing()
    # Its name and kind are nobody's business.
    mime = "application/octet-stream"
    uri = await _uploaded(client, sealing(file.chunks()), mime, file.ref.size, "", timeout_s)
    return {"file": sealing.file(uri)}


async def _uploaded(
    client: Client, chunks: AsyncIterator[bytes], mime: str, size: int, query: str, timeout_s: float
) -> str:
    headers = {"Content-Type": mime, "Content-Length": str(size)}
    path = f"/media/v3/upload?{query}" if query else "/media/v3/upload"
    try:
        async with client.stream("POST", path, data=chunks, headers=headers, timeout_s=timeout_s) as response:
            answer = await body(response)
    except Refused as error:
        if error.errcode in _TOO_BIG or error.status == 413:
            raise Rejected(str(error), code="FILE_TOO_BIG", public=words.FILE_TOO_BIG_OUT()) from error
        raise
    uri = text(mapping(answer).get("content_uri"))
    if uri is None:
        raise Unavailable("the homeserver's answer to an upload names no content")
    return uri


def fetch(client: Client, ref: str, *, most: int, timeout_s: float) -> AsyncIterator[bytes]:
    """The content of a file that a person sent, decrypted where it is encrypted; as `download`."""
    reference = sealed(ref)
    if reference is None:
        return download(client, ref, most=most, timeout_s=timeout_s)
    if not installed():
        raise Rejected("the file is encrypted", code="ENCRYPTED", public=words.FILE_GONE())
    from surfaces_matrix.e2ee.attachments import opened

    return opened(reference, download(client, reference.uri, most=most, timeout_s=timeout_s))


async def download(client: Client, uri: str, *, most: int, timeout_s: float) -> AsyncIterator[bytes]:
    """The content behind an `mxc://` URI in pieces, at most `most` bytes and `timeout_s` seconds.

    Raises `Unavailable` or `Rejected` with a sentence for the person.
    """
    found = _URI.fullmatch(uri)
    if found is None or set(found[1]) <= {"."}:
        raise Rejected("not a Matrix content address", code="FILE_GONE", public=words.FILE_GONE())
    async with AsyncExitStack() as stack:
        response = await _opened(client, quote(*found.groups()), stack, timeout_s)
        left = most
        if (response.content_length or 0) > most:
            raise _too_big(most)
        async for piece in response.content.iter_chunked(PIECE):
            left -= len(piece)
            if left < 0:
                raise _too_big(most)
            yield piece


async def _opened(client: Client, content: str, stack: AsyncExitStack, timeout_s: float) -> ClientResponse:
    """The answer that carries the content, closed by `stack`."""
    try:
        try:
            authenticated = f"/client/v1/media/download{content}"
            return await stack.enter_async_context(client.stream("GET", authenticated, timeout_s=timeout_s))
        except Refused as error:
            if error.errcode != "M_UNRECOGNIZED":
                raise
        # A homeserver from before authenticated media.
        return await stack.enter_async_context(
            client.stream("GET", f"/media/v3/download{content}", timeout_s=timeout_s)
        )
    except Refused as error:
        raise Rejected(str(error), code="FILE_GONE", public=words.FILE_GONE()) from error


def _too_big(most: int) -> Rejected:
    return Rejected(f"the file has more than {most} bytes", code="FILE_TOO_BIG", public=words.FILE_TOO_BIG_IN())
