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
from surfaces_matrix.errors import Refused
from surfaces_matrix.shapes import mapping, text

PIECE = 256 * 1024
_URI = re.compile(r"mxc://([A-Za-z0-9.\-:\[\]]{1,255})/([A-Za-z0-9_\-]{1,255})")
_TOO_BIG = frozenset({"M_TOO_LARGE", "M_RESOURCE_LIMIT_EXCEEDED"})


async def upload(client: Client, file: OpenFile, *, timeout_s: float) -> str:
    """The `mxc://` URI of a file's content. `Unavailable` or `Rejected`."""
    headers = {"Content-Type": file.ref.mime, "Content-Length": str(file.ref.size)}
    path = f"/media/v3/upload?{urlencode({'filename': file.ref.name})}"
    try:
        async with client.stream("POST", path, data=file.chunks(), headers=headers, timeout_s=timeout_s) as response:
            answer = await body(response)
    except Refused as error:
        if error.errcode in _TOO_BIG or error.status == 413:
            raise Rejected(str(error), code="FILE_TOO_BIG", public=words.FILE_TOO_BIG_OUT()) from error
        raise
    uri = text(mapping(answer).get("content_uri"))
    if uri is None:
        raise Unavailable("the homeserver's answer to an upload names no content")
    return uri


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
