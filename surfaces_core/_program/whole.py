"""A file that is there when all of it is: no full disk and no kill leaves half of one."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO


@contextmanager
def whole(target: Path, *, mode: int = 0o600) -> Iterator[IO[bytes]]:
    """A file, by itself of its owner alone, that is there when all of it is, and leaves nothing when it fails."""
    unfinished = target.with_name(f".{target.name}.unfinished")
    unfinished.unlink(missing_ok=True)
    descriptor = os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    try:
        with os.fdopen(descriptor, "wb") as raw:
            yield raw
            raw.flush()
            os.fsync(raw.fileno())
        unfinished.rename(target)
    except OSError as error:
        unfinished.unlink()
        raise OSError(error.errno, error.strerror or str(error), error.filename or str(target)) from error
    except BaseException:
        unfinished.unlink()
        raise
