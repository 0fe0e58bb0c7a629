"""Big pictures go out with a small one beside them, made within bounds."""

from __future__ import annotations

import struct
import zlib
from io import BytesIO
from typing import Any

import pytest
from PIL import Image

from surfaces_core import FileKind, FileRef, Unavailable
from surfaces_matrix import thumbnails

from .conftest import Bot, Stage, Workspace, a_file, outbound

SEND = "PUT /_matrix/client/v3/rooms/%21room%3Ahs/send/m.room.message/"


def picture(width: int = 2000, height: int = 1000, kind: str = "JPEG", mode: str = "RGB", **more: Any) -> bytes:
    """A picture in one colour."""
    into = BytesIO()
    Image.new(mode, (width, height), 100).save(into, kind, **more)
    return into.getvalue()


def bomb(width: int, height: int) -> bytes:
    """A few kilobytes that are a PNG of so many pixels, all of one colour, at a bit for each."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    head, lines = struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0), bytes((1 + width // 8) * height)
    parts = [chunk(b"IHDR", head), chunk(b"IDAT", zlib.compress(lines)), chunk(b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def put(workspace: Workspace, content: bytes, width: int = 2000, height: int = 1000, **more: Any) -> FileRef:
    """A picture in the workspace, as the files plugin read its size."""
    file = a_file("pic.png", len(content), **{"kind": FileKind.IMAGE, "width": width, "height": height, **more})
    workspace.put(file, content)
    return file


def uploaded(stage: Stage) -> list[Image.Image]:
    """The pictures that went up behind the first one."""
    return [Image.open(BytesIO(request.body)) for request in stage.sent("/upload")[1:]]


@pytest.mark.parametrize(
    ("kind", "mode", "mime"),
    [
        ("JPEG", "RGB", "image/jpeg"),
        ("JPEG", "CMYK", "image/jpeg"),
        ("PNG", "RGBA", "image/png"),
        ("PNG", "I;16", "image/jpeg"),
        ("GIF", "P", "image/jpeg"),
        ("WEBP", "RGB", "image/jpeg"),
    ],
)
async def test_a_big_picture_has_a_thumbnail(
    stage: Stage, bot: Bot, workspace: Workspace, kind: str, mode: str, mime: str
):
    """At most 800 pixels a side, in the same proportions, and said in the event."""
    bot.files = workspace
    await stage.then("/upload", {"content_uri": "mxc://hs/big"}, {"content_uri": "mxc://hs/small"})
    async with bot.live() as surface:
        await surface.send(outbound(file=put(workspace, picture(kind=kind, mode=mode))))
    (small,) = uploaded(stage)
    said = stage.sent(SEND)[0].body
    size = len(stage.sent("/upload")[1].body)
    assert (small.size, said["url"], said["info"]["thumbnail_url"]) == ((800, 400), "mxc://hs/big", "mxc://hs/small")
    assert said["info"]["thumbnail_info"] == {"size": size, "mimetype": mime, "w": 800, "h": 400}
    assert "thumbnail" not in said


async def test_it_stands_upright(stage: Stage, bot: Bot, workspace: Workspace):
    """As the camera says, for what it says is not in the thumbnail."""
    exif = Image.Exif()
    exif[0x0112] = 6
    bot.files = workspace
    async with bot.live() as surface:
        await surface.send(outbound(file=put(workspace, picture(exif=exif))))
    assert [small.size for small in uploaded(stage)] == [(400, 800)]


@pytest.mark.parametrize(
    ("content", "more"),
    [
        (picture(800, 600), {"width": 800, "height": 600}),
        (picture(), {"kind": FileKind.OTHER}),
        (picture(), {"width": None, "height": None}),
        (b"no picture", {}),
        (picture()[:300], {}),
        (picture(kind="BMP"), {}),
        (bomb(8_000, 4_000), {}),
        (bomb(16_000, 8_000), {}),
        (bomb(16_000, 16_000), {}),
        (bomb(8_000, 4_000), {"width": 8_000, "height": 4_000}),
    ],
    ids=["small", "other", "unknown", "none", "cut", "strange", "bomb", "bigger bomb", "huge bomb", "honest bomb"],
)
async def test_without_a_thumbnail_the_picture_goes_alone(
    stage: Stage, bot: Bot, workspace: Workspace, content: bytes, more: dict[str, Any]
):
    """Where none is needed or none can be made."""
    bot.files = workspace
    async with bot.live() as surface:
        await surface.send(outbound(file=put(workspace, content, **more)))
    assert stage.count("/upload") == 1
    assert "thumbnail_url" not in stage.sent(SEND)[0].body["info"]


async def test_without_the_library_there_is_none(
    stage: Stage, bot: Bot, workspace: Workspace, monkeypatch: pytest.MonkeyPatch
):
    """The extra is not needed for sending pictures."""
    monkeypatch.setattr(thumbnails, "find_spec", lambda _: None)
    bot.files = workspace
    async with bot.live() as surface:
        await surface.send(outbound(file=put(workspace, picture())))
    assert stage.count("/upload") == 1


async def test_both_uploads_are_used_again(stage: Stage, bot: Bot, workspace: Workspace):
    """A repeat after a failure or a crash says the same content under the same key."""
    bot.files = workspace
    file = put(workspace, picture())
    async with bot.live() as surface:
        await stage.then(SEND, (502, "x"))
        with pytest.raises(Unavailable):
            await surface.send(outbound(file=file))
    async with bot.live() as surface:
        await surface.send(outbound(file=file))
    assert stage.count("/upload") == 2
    first, second = stage.sent(SEND)
    assert (first.path, first.body) == (second.path, second.body)
