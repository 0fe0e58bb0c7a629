"""The door to a running host: a UNIX socket beside its state, for the user that runs it and for root.

One line of JSON asks (`Request`); lines of JSON answer: `{"row": …}` each, then `{"end": …}` or
`{"error": …}`. A connection that closes without one of these two broke off.
"""

from __future__ import annotations

import asyncio
import io
import json
import os
import socket
import stat
import struct
from collections.abc import Iterator
from contextlib import aclosing, contextmanager, suppress
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from structlog.typing import FilteringBoundLogger

from surfaces_core._operating.requests import Asked, Line, Refusal, Request, answer
from surfaces_core.errors import StateError, SurfacesError

LONGEST_ADDRESS = 100
"""Bytes of a path that surely fit into the address of a socket (unix(7): 108)."""
LONGEST_REQUEST = 64 * 1024
LONGEST_LINE = 64 * 1024 * 1024
"""More than any stored row needs."""
ASKING_S = 5.0
"""How long a client may take over its request."""
TAKING_S = 30.0
"""How long a client may take over a piece of the answer, and wait for one."""
BREATH = 100
"""Lines that are said without letting others go on."""
AT_ONCE = 8
"""Clients that are served at the same time."""
_PEER = struct.Struct("3i")


class NobodyThere(Exception):
    """No host listens."""


@contextmanager
def _address(path: Path) -> Iterator[str]:
    """What a socket can be told for a path, however long that is."""
    if len(os.fsencode(path)) <= LONGEST_ADDRESS:
        yield str(path)
        return
    folder = os.open(path.parent, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{folder}/{path.name}"
    finally:
        os.close(folder)


# The host's side ----------------------------------------------------------------------------------


class Door:
    """Serves a host at a path; only while this process holds the state."""

    def __init__(self, path: Path, host: Asked, log: FilteringBoundLogger) -> None:
        self._path = path
        self._host = host
        self._log = log
        self._clients: set[asyncio.Task[Any]] = set()
        self._closed = False

    async def run(self) -> None:
        """Serve until cancelled. A place that can have no door is no reason to have no host."""
        try:
            listening = self._bind()
        except OSError as error:
            self._log.warning("control.closed", path=str(self._path), error=error.strerror or str(error))
            return
        server = await asyncio.start_unix_server(self._serve, sock=listening, limit=LONGEST_REQUEST)
        try:
            await asyncio.Event().wait()
        finally:
            server.close()
            self._closed = True
            for client in self._clients:
                client.cancel()
            if self._clients:
                await asyncio.wait(self._clients)  # none may be left in the storage that is closed next
            self._remove()

    def _remove(self) -> None:
        with suppress(OSError), _address(self._path) as address:
            Path(address).unlink()

    def _bind(self) -> socket.socket:
        listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            with _address(self._path) as address:
                with suppress(FileNotFoundError):
                    if stat.S_ISSOCK(os.lstat(address).st_mode):  # of a host that died, for we hold the state
                        Path(address).unlink()
                listening.bind(address)
                Path(address).chmod(0o600)  # nobody can connect before it listens
        except BaseException:
            listening.close()
            raise
        return listening

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._clients.add(task)
        try:
            if not self._closed:  # who came at the last moment comes too late
                await self._converse(reader, writer)
        except (OSError, TimeoutError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            pass  # whoever asks like this, or does not listen, gets no answer
        except asyncio.CancelledError:
            pass  # the door closes: that is all that this task was for
        finally:
            self._clients.discard(task)
            writer.close()

    async def _converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        async with asyncio.timeout(ASKING_S):
            line = await reader.readuntil(b"\n")
        try:
            self._check(writer)
            await self._answer(Request.model_validate_json(line), writer)
        except ValidationError:
            await _say(writer, _error(Refusal("the running host does not know this request; is it another version?")))
        except SurfacesError as error:
            await _say(writer, _error(error))
        except OSError:
            raise
        except Exception:  # noqa: BLE001 - who only asks must not end what works
            self._log.exception("control.bug")
            await _say(writer, _error(Refusal("this should not happen; see the log of the host", exit_code=70)))

    async def _answer(self, request: Request, writer: asyncio.StreamWriter) -> None:
        self._log.info("control.asked", do=request.do, numbers=list(request.numbers), conversation=request.conversation)
        async with aclosing(answer(self._host, request)) as lines:
            count = 0
            async for line in lines:
                await _say(writer, line)
                count += 1
                if count % BREATH == 0:  # a client that takes everything at once must not hold up the loop
                    await asyncio.sleep(0)

    def _check(self, writer: asyncio.StreamWriter) -> None:
        """Raise `Refusal` where a client is not to be served."""
        peer = writer.get_extra_info("socket").getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _PEER.size)
        _, user, _ = _PEER.unpack(peer)
        if user not in (os.geteuid(), 0):
            self._log.warning("control.refused", user=user)
            raise Refusal(f"only user {os.geteuid()} and root may ask this host", exit_code=os.EX_NOPERM)
        if len(self._clients) > AT_ONCE:
            raise Refusal("too many ask at the same time; try again", exit_code=os.EX_TEMPFAIL)


async def _say(writer: asyncio.StreamWriter, line: Line) -> None:
    writer.write(json.dumps(line).encode() + b"\n")
    async with asyncio.timeout(TAKING_S):
        await writer.drain()


def _error(error: SurfacesError) -> Line:
    code = error.exit_code if isinstance(error, Refusal | StateError) else os.EX_SOFTWARE
    return {"error": {"code": error.code, "message": str(error), "exit_code": code}}


# The other side -----------------------------------------------------------------------------------


def ask(path: Path, request: Request) -> Iterator[Line]:
    """Ask the running host; the lines of its answer. Raises `NobodyThere`, `Refusal` and `StateError`."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.settimeout(TAKING_S)
        _connect(connection, path)
        with suppress(OSError):  # what is wrong shows when the answer does not come
            connection.sendall(request.model_dump_json().encode() + b"\n")
        with connection.makefile("rb") as lines:
            line: Line = {}
            while "end" not in line:
                line = _next(lines)
                yield line


def is_kept(path: Path) -> bool:
    """Whether a host keeps the door of this state."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.settimeout(ASKING_S)
        try:
            _connect(connection, path)
        except NobodyThere:
            return False
        except (OSError, StateError):  # somebody is behind it, though not for us
            return True
    return True


def _connect(connection: socket.socket, path: Path) -> None:
    try:
        with _address(path) as address:
            connection.connect(address)
    except (FileNotFoundError, NotADirectoryError, ConnectionRefusedError) as error:
        raise NobodyThere from error
    except PermissionError as error:
        raise StateError(f"{path}: only its own user and root may ask this host", exit_code=os.EX_NOPERM) from error


def _next(lines: io.BufferedReader) -> Line:
    try:
        raw = lines.readline(LONGEST_LINE)
    except OSError as error:
        raise _broken() from error
    if not raw.endswith(b"\n"):
        raise _broken()
    line: Line = json.loads(raw)
    if "error" in line:
        said = line["error"]
        raise Refusal(said["message"], code=said["code"], exit_code=said["exit_code"])
    return line


def _broken() -> StateError:
    return StateError("the host ended or hung before it had answered; ask again", exit_code=os.EX_TEMPFAIL)
