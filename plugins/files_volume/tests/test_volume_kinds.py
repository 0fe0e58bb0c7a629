"""What a file is comes from its content, then its name, and no content makes the look fail."""

from __future__ import annotations

import io
import os
import struct
import tempfile
import wave
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from surfaces_core import FileKind
from surfaces_files_volume.glimpse import MAX_BYTES, MAX_READS, Glimpse
from surfaces_files_volume.kinds import UNKNOWN, Look, look_at


def look(data: bytes, name: str, claimed: str = UNKNOWN) -> Look:
    """Look at a real file."""
    with tempfile.TemporaryFile() as file:
        file.write(data)
        file.flush()
        return look_at(file.fileno(), len(data), name, claimed)


def png(width: int, height: int) -> bytes:
    """The beginning of a PNG (RFC 2083)."""
    return b"\x89PNG\r\n\x1a\n" + struct.pack(">I4sIIBBBBB", 13, b"IHDR", width, height, 8, 2, 0, 0, 0) + bytes(4)


def gif(width: int, height: int) -> bytes:
    """The beginning of a GIF."""
    return b"GIF89a" + struct.pack("<HH", width, height) + bytes(7)


def jpeg(width: int, height: int, orientation: int = 1) -> bytes:
    """A JPEG's start with Exif orientation, frame header and end."""
    entry = struct.pack(">HHIHH", 0x0112, 3, 1, orientation, 0)
    tiff = b"MM\0*" + struct.pack(">IH", 8, 1) + entry + bytes(4)
    exif = b"Exif\0\0" + tiff
    frame = struct.pack(">BHHB", 8, height, width, 3) + bytes(9)
    segments = b"".join(
        b"\xff" + bytes([marker]) + struct.pack(">H", len(body) + 2) + body
        for marker, body in ((0xE1, exif), (0xC0, frame))
    )
    return b"\xff\xd8" + segments + b"\xff\xd9"


def webp(width: int, height: int) -> bytes:
    """The beginning of an extended WebP."""
    size = struct.pack("<I", width - 1)[:3] + struct.pack("<I", height - 1)[:3]
    return b"RIFF" + struct.pack("<I", 22) + b"WEBPVP8X" + struct.pack("<II", 10, 0) + size


def wav(seconds: float) -> bytes:
    """Silence, 8 kHz mono."""
    buffer = io.BytesIO()
    with wave.open(buffer, "wb") as file:
        file.setparams((1, 2, 8000, 0, "NONE", ""))
        file.writeframes(bytes(int(seconds * 8000) * 2))
    return buffer.getvalue()


def opus(seconds: float) -> bytes:
    """An Ogg stream of Opus as voice messages are, with nothing in its packets (RFC 7845)."""
    head = b"OpusHead" + struct.pack("<BBHIhB", 1, 1, 312, 48000, 0, 0)
    tags = b"OpusTags" + struct.pack("<I", 0) + struct.pack("<I", 0)
    pages = [(2, 0, head), (0, 0, tags), (4, int(seconds * 48000) + 312, bytes(100))]
    return b"".join(
        b"OggS" + struct.pack("<BBqIIIBB", 0, flags, granule, 7, number, 0, 1, len(packet)) + packet
        for number, (flags, granule, packet) in enumerate(pages)
    )


def box(name: bytes, *parts: bytes) -> bytes:
    """A box of the ISO base media format."""
    body = b"".join(parts)
    return struct.pack(">I4s", len(body) + 8, name) + body


def mp4(seconds: float) -> bytes:
    """A film without frames."""
    header = struct.pack(">IIIII", 0, 0, 0, 1000, int(seconds * 1000)) + bytes(80)
    return box(b"ftyp", b"isom", bytes(4), b"isommp42") + box(b"mdat", bytes(999)) + box(b"moov", box(b"mvhd", header))


@pytest.mark.parametrize(
    ("data", "mime"),
    [
        (png(640, 480), "image/png"),
        (gif(640, 480), "image/gif"),
        (jpeg(640, 480), "image/jpeg"),
        (jpeg(480, 640, orientation=6), "image/jpeg"),
        (webp(640, 480), "image/webp"),
    ],
)
def test_images(data: bytes, mime: str):
    """Images have their width and height as they are shown, whatever they are called."""
    assert look(data, "page.html") == Look(mime=mime, kind=FileKind.IMAGE, width=640, height=480)


@pytest.mark.parametrize(
    ("make", "mime", "kind"),
    [
        (wav, "audio/x-wav", FileKind.AUDIO),
        (opus, "audio/ogg", FileKind.AUDIO),
        (mp4, "video/mp4", FileKind.VIDEO),
    ],
)
def test_durations(make: Callable[[float], bytes], mime: str, kind: FileKind):
    """Audio and video have their duration."""
    assert look(make(1.5), "x") == Look(mime=mime, kind=kind, duration_ms=1500)


def test_ogg_video():
    """Ogg holds films as well as music."""
    theora = b"OggS" + struct.pack("<BBqIIIBB", 0, 2, 0, 7, 0, 0, 1, 42) + b"\x80theora" + bytes(35)
    assert look(theora, "x.ogg").kind is FileKind.VIDEO


@pytest.mark.parametrize(
    ("data", "name", "claimed", "mime", "kind"),
    [
        (b"%PDF-1.7", "photo.png", "image/png", "application/pdf", FileKind.OTHER),
        (b"a,b\n", "table.csv", "text/html", "text/csv", FileKind.OTHER),
        (b"", "voice.ogg", UNKNOWN, "audio/ogg", FileKind.AUDIO),
        (b"plain", "noname", "text/plain; charset=utf-8", "text/plain", FileKind.OTHER),
        (b"plain", "noname", UNKNOWN, UNKNOWN, FileKind.OTHER),
        (b"plain", "noname", "", UNKNOWN, FileKind.OTHER),
        (b"PK\x03\x04" + bytes(60), "book.epub", UNKNOWN, "application/epub+zip", FileKind.OTHER),
        (b"PK\x03\x04" + bytes(60), "photo.png", UNKNOWN, "application/zip", FileKind.OTHER),
        (b"<svg/>", "logo.svg", UNKNOWN, "image/svg+xml", FileKind.IMAGE),
    ],
)
def test_order(data: bytes, name: str, claimed: str, mime: str, kind: FileKind):
    """Content first, then the name (it knows better what a zip is), then what was claimed."""
    assert look(data, name, claimed) == Look(mime=mime, kind=kind)


@pytest.mark.parametrize("whole", [png(1, 1), jpeg(1, 1), webp(1, 1), gif(0, 0), wav(0.1), opus(0.1), mp4(0.1)])
def test_cut_off(whole: bytes):
    """A file that ends anywhere is taken for what it is, or for unknown, without an error."""
    full = look(whole, "x")
    for end in range(0, min(len(whole), 200), 3):
        assert look(whole[:end], "x").mime in (full.mime, UNKNOWN)


@given(
    st.sampled_from(
        [png(9, 9), jpeg(9, 9), webp(9, 9), wav(0.01), opus(0.1), mp4(0.1), b"ID3", b"fLaC", b"II*\0", b""]
    ),
    st.binary(max_size=60),
    st.integers(0, 200),
)
def test_damaged(whole: bytes, damage: bytes, at: int):
    """Nor does any damage lead to an error, and no size or duration is ever below 1."""
    seen = look(whole[:at] + damage + whole[at + len(damage) :], "x.mp3")
    assert all(value is None or value > 0 for value in (seen.width, seen.height, seen.duration_ms))


def test_glimpse_reads_like_a_file():
    """Reading, seeking and telling go as with any file, and end at the size that was given."""
    with tempfile.TemporaryFile() as file:
        file.write(b"0123456789")
        file.flush()
        glimpse = Glimpse(file.fileno(), 8)
        assert (glimpse.read(3), glimpse.tell(), glimpse.read()) == (b"012", 3, b"34567")
        assert (glimpse.seek(-2, os.SEEK_END), glimpse.seek(1, os.SEEK_CUR), glimpse.read(9)) == (6, 7, b"7")
        assert (glimpse.seek(99), glimpse.read(1)) == (99, b"")
        with pytest.raises(ValueError, match="before the start"):
            glimpse.seek(-1)


def test_glimpse_has_enough():
    """No parser can be kept reading for ever, neither much nor often."""
    with tempfile.TemporaryFile() as file:
        file.truncate(MAX_BYTES * 2)
        with pytest.raises(EOFError):
            Glimpse(file.fileno(), MAX_BYTES * 2).read()
        glimpse = Glimpse(file.fileno(), MAX_BYTES)
        for _ in range(MAX_READS):
            glimpse.read(0)
        with pytest.raises(EOFError):
            glimpse.read(1)
