"""What a power cut would leave of the files that a traced program wrote: the bytes that were synced, and no others.

That is the worst that a disk may do, so whatever is found here is there whatever happens.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType

from proof.trace.calls import SYNCS, WRITES, Call


@dataclass(slots=True, eq=False)
class _File:
    """One file, in the cache of the system and on the disk."""

    cached: bytearray = field(default_factory=bytearray)
    durable: bytes = b""
    named: bool = True
    """The folder that lists it under its name was synced."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Disk:
    """The disk behind one tick."""

    at: int
    files: Mapping[str, bytes]
    """What is durable, by path."""
    whole: frozenset[str]
    """Paths of the files of which nothing would be lost, their names included."""
    nameless: frozenset[str]
    """Paths of files that would be gone: the folders that list them were not synced."""


def disks(calls: Sequence[Call]) -> Iterator[Disk]:
    """The disk behind every sync that changed it."""
    system = _System()
    for call, begins in _in_order(calls):
        if begins:
            system.begin(call)
        elif system.end(call) and call.ended is not None:
            yield system.disk(call.ended)


def after_power_cut(calls: Sequence[Call], before: Mapping[str, bytes]) -> Disk:
    """The disk when the power goes behind all calls; `before` are the files as they were, which were safe."""
    system = _System()
    system.load(before)
    last = 0
    for call, begins in _in_order(calls):
        if begins:
            last = call.begun
            system.begin(call)
        else:
            last = call.ended or last
            system.end(call)
    return system.disk(last)


def _in_order(calls: Iterable[Call]) -> list[tuple[Call, bool]]:
    """Begins and ends of the calls that came to something."""
    done = [call for call in calls if call.ended is not None and (call.result or 0) >= 0]
    moments = [(call.begun, call, True) for call in done] + [(call.ended or 0, call, False) for call in done]
    return [(call, begins) for _, call, begins in sorted(moments, key=lambda moment: moment[0])]


class _System:
    """Follows files through writes, syncs and renames."""

    def __init__(self) -> None:
        self._files: dict[str, _File] = {}
        self._syncing: dict[int, list[tuple[_File, bytes]]] = {}
        """By thread: the files that its sync will make durable, and their content when that began."""

    def load(self, files: Mapping[str, bytes]) -> None:
        """Files that are there, and safe."""
        self._files |= {path: _File(cached=bytearray(data), durable=data) for path, data in files.items()}

    def begin(self, call: Call) -> None:
        """A sync covers what was written, or named, before it began, and no more."""
        if call.name in SYNCS:
            covered = [self._files[call.path]] if call.path in self._files else self._listed(call.path)
            self._syncing[call.tid] = [(file, bytes(file.cached)) for file in covered]

    def _listed(self, folder: str) -> list[_File]:
        return [file for path, file in self._files.items() if str(Path(path).parent) == folder]

    def end(self, call: Call) -> bool:
        """What a call has done; True when the disk is another one."""
        if call.name in SYNCS:
            return self._synced(call.path in self._files, self._syncing.pop(call.tid))
        if call.name.startswith("rename"):
            self._files[call.to] = self._files.pop(call.path, _File())
            self._files[call.to].named = False
        elif call.name.startswith("unlink"):
            self._files.pop(call.path, None)
        elif call.name == "ftruncate":
            del self._file(call.path).cached[call.size :]
        elif call.name in WRITES and call.kind == "write":
            self._write(call)
        return False

    def _write(self, call: Call) -> None:
        cached, at = self._file(call.path).cached, call.offset or 0
        cached.extend(bytes(max(0, at - len(cached))))
        cached[at : at + len(call.data)] = call.data

    def _synced(self, is_file: bool, covered: Sequence[tuple[_File, bytes]]) -> bool:
        changed = False
        for file, content in covered:
            if is_file:
                changed = changed or file.durable != content
                file.durable = content
            else:
                changed = changed or not file.named
                file.named = True
        return changed

    def _file(self, path: str) -> _File:
        return self._files.setdefault(path, _File())

    def disk(self, at: int) -> Disk:
        """As it is now."""
        whole = {path for path, file in self._files.items() if file.named and file.durable == file.cached}
        return Disk(
            at=at,
            files=MappingProxyType({path: file.durable for path, file in self._files.items()}),
            whole=frozenset(whole),
            nameless=frozenset(path for path, file in self._files.items() if not file.named),
        )
