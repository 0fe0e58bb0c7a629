"""Every `OSError` of the volume becomes one of the host's errors."""

from __future__ import annotations

import errno

import pytest

from surfaces_core import DriverError, Rejected, Unavailable
from surfaces_files_volume import refusals

EXPECTED: dict[int, tuple[type[DriverError], str]] = {
    errno.ENOENT: (Rejected, "FILE_MISSING"),
    errno.ENOTDIR: (Rejected, "FILE_MISSING"),
    errno.ENAMETOOLONG: (Rejected, "FILE_MISSING"),
    errno.EXDEV: (Rejected, "FILE_OUTSIDE"),
    errno.ELOOP: (Rejected, "FILE_LINK"),
    errno.EISDIR: (Rejected, "FILE_NOT_REGULAR"),
    errno.ENXIO: (Rejected, "FILE_NOT_REGULAR"),
    errno.ENODEV: (Rejected, "FILE_NOT_REGULAR"),
    errno.EACCES: (Rejected, "FILE_FORBIDDEN"),
    errno.EPERM: (Rejected, "FILE_FORBIDDEN"),
    errno.EEXIST: (Rejected, "FILE_NAME_TAKEN"),
    errno.ENOSPC: (Unavailable, "DISK_FULL"),
    errno.EDQUOT: (Unavailable, "DISK_FULL"),
}


@pytest.mark.parametrize("number", sorted(errno.errorcode))
def test_every_errno(number: int):
    """Each errno has a class, a code and a sentence; those not named may pass, so they are `Unavailable`."""
    error = refusals.from_os_error(OSError(number, "x"), "/agents/17/out/a\nb.txt", "send")
    assert (type(error), error.code) == EXPECTED.get(number, (Unavailable, "VOLUME_FAILED"))
    assert error.public.startswith("I can't send a_b.txt: ")
    assert errno.errorcode[number] in str(error)


def test_without_errno():
    """An `OSError` that carries no number is translated as well."""
    assert isinstance(refusals.from_os_error(OSError("odd"), "a.txt", "take"), Unavailable)


@pytest.mark.parametrize(
    ("limit", "words"),
    [(100 << 20, "100 MB"), (3 << 30, "3 GB"), (1 << 10, "1 KB"), (1536 << 10, "1.5 MB"), (7, "7 B")],
)
def test_too_large_says_limit(limit: int, words: str):
    """The person learns how large a file may be."""
    assert refusals.too_large("a.bin", limit, "take").public == f"I can't take a.bin: it is larger than {words}."
