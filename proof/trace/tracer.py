"""The tracer: starts a program, sees its calls, ends it at one of them. All of it in one thread, as ptrace wants it."""

from __future__ import annotations

import errno
import os
import signal
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from typing import NoReturn, TextIO

from proof.trace import kernel
from proof.trace.arguments import Arguments, Peers, behind, position
from proof.trace.calls import NAMES, WRITES, Call, Kill, Side, Summary, kind_of
from proof.trace.kernel import Forbidden

_WALL = 0x40000000
"""Wait for threads, too (waitpid(2), `__WALL`)."""
_STOPS_ALL = {signal.SIGSTOP, signal.SIGTSTP, signal.SIGTTIN, signal.SIGTTOU}
_FORBIDS = {errno.EPERM, errno.EACCES, errno.EIO, errno.EINVAL, errno.ENOSYS}


class Tracer:
    """Follows one program and everything that it starts."""

    def __init__(self, *, folders: Sequence[str], kill: Kill | None, record: TextIO) -> None:
        self._folders = folders
        self._kill = kill
        self._record = record
        self._names = kernel.machine_numbers()
        self._peers = Peers()
        self._counts: Counter[str] = Counter()
        self._pending: dict[int, Call] = {}
        """The call that each thread is in."""
        self._clock = 0
        self._due = 0
        """When the call began that the program must not outlive."""
        self._killed = False
        self._asked_at: int | None = None
        self._program = 0

    def run(self, command: Sequence[str]) -> int:
        """Run a program to its end; its exit code, negative for a signal. Raises `Forbidden`."""
        with _forbidden():
            self._program = _start(command, self._names)
        signal.signal(signal.SIGTERM, self._pass_on)
        status = 0
        for tid, happened in _news():
            if not os.WIFSTOPPED(happened):
                status = happened if tid == self._program else status
                continue
            try:
                self._stopped(tid, os.WSTOPSIG(happened), happened >> 16)
            except (ProcessLookupError, FileNotFoundError):
                continue  # killed by others while it stood; its end is news to come
        self._finish()
        return os.waitstatus_to_exitcode(status)

    def _pass_on(self, number: int, _: object) -> None:
        """We are asked to end: so is the program."""
        self._asked_at = self._clock if self._asked_at is None else self._asked_at
        with suppress(ProcessLookupError):  # it has just ended
            os.kill(self._program, number)

    def _finish(self) -> None:
        for call in self._pending.values():
            self._record.write(f"{call.line()}\n")
        summary = Summary(counts=self._counts, killed=self._killed, asked_at=self._asked_at)
        self._record.write(f"{summary.line()}\n")

    def _stopped(self, tid: int, number: int, event: int) -> None:
        """A thread stands still: see why, and let it go on. What stands after the kill has been killed."""
        if self._killed:
            return
        if event == kernel.EVENT_SECCOMP:
            with _forbidden():
                self._begins(tid)
            kernel.go_on(tid, to_the_end_of_the_call=True)
        elif number == signal.SIGTRAP | kernel.SYSCALL_STOP:
            self._ends(tid)
            kernel.go_on(tid)
        elif event == kernel.EVENT_STOP and number in _STOPS_ALL:
            kernel.stay_stopped(tid)
        else:
            kernel.go_on(tid, 0 if event else number)

    def _begins(self, tid: int) -> None:
        entry = kernel.entry(tid)
        self._clock += 1
        name = self._names[entry.number]
        call = self._call(tid, name, Arguments(tid, name, entry.args))
        self._pending[tid] = call
        if call.kind is not None:
            self._counts[call.kind] += 1
        if self._is_due(call):
            self._due = call.begun
            self._kill_at("before", call)

    def _call(self, tid: int, name: str, args: Arguments) -> Call:
        if name in NAMES:
            path, to = args.names()
            kind = kind_of(name, path, "", self._folders)
            return Call(begun=self._clock, name=name, tid=tid, kind=kind, path=path, to=to)
        path = behind(tid, args.fd)
        peer = self._peers.of(tid, path)
        kind = kind_of(name, path, peer, self._folders)
        return Call(
            begun=self._clock,
            name=name,
            tid=tid,
            kind=kind,
            fd=args.fd,
            path=path,
            peer=peer,
            size=args.size(),
            offset=args.offset(),
            data=b"" if kind is None else args.data(),
        )

    def _ends(self, tid: int) -> None:
        self._clock += 1
        call, value = self._pending.pop(tid), kernel.result(tid)
        call = replace(call, ended=self._clock, result=value, data=call.data[: max(0, value)])
        if call.kind == "write" and call.name in WRITES and call.offset is None and value > 0:
            call = replace(call, offset=position(tid, call.fd) - value)
        self._record.write(f"{call.line()}\n")
        self._kill_at("after", call)

    def _is_due(self, call: Call) -> bool:
        kill = self._kill
        return kill is not None and call.kind == kill.kind and self._counts[kill.kind] == kill.count

    def _kill_at(self, side: Side, call: Call) -> None:
        """At this instant every thread of the program is dead, or as good as: none begins another call."""
        if self._kill is not None and self._kill.side == side and call.begun == self._due:
            self._killed = True
            os.kill(self._program, signal.SIGKILL)


def _start(command: Sequence[str], numbers: Iterable[int]) -> int:
    """Start a program that stops at these calls; it is traced before its first instruction."""
    seized, seizing = os.pipe()
    program = os.fork()
    if program == 0:
        os.close(seizing)
        _become(command, numbers, seized)
    os.close(seized)
    try:
        kernel.seize(program)
        os.write(seizing, b"1")
    finally:
        os.close(seizing)
    return program


def _become(command: Sequence[str], numbers: Iterable[int], seized: int) -> NoReturn:
    """The child's side: wait for the tracer, then be the program."""
    try:
        if os.read(seized, 1):
            signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # which Python ignores, and would pass on
            kernel.stop_at(numbers)
            os.execvp(command[0], list(command))
    except OSError as error:
        os.write(2, f"{command[0]}: {error}\n".encode())
    finally:
        os._exit(os.EX_UNAVAILABLE)


def _news() -> Iterator[tuple[int, int]]:
    """What happens to the traced threads, until there are none."""
    while True:
        try:
            yield os.waitpid(-1, _WALL)
        except ChildProcessError:
            return


@contextmanager
def _forbidden() -> Iterator[None]:
    """Translate a refusal of the kernel, which is a fact about the machine."""
    try:
        yield
    except OSError as error:
        if error.errno in _FORBIDS:
            raise Forbidden(
                f"ptrace is forbidden here ({error.strerror}); in a container allow it with SYS_PTRACE"
            ) from error
        raise
