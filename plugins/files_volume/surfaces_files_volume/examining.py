"""A look at the volume before a start, for `surfaces check`; changes nothing."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import suppress

from surfaces_core import Agent, Finding, Rejected
from surfaces_files_volume.beneath import by_walk
from surfaces_files_volume.folders import Folders
from surfaces_files_volume.settings import VolumeSettings

LITTLE_BYTES = 200 << 20
NAMED = 5
"""Folders that a finding names."""


def examine(settings: VolumeSettings, folders: Folders, agents: Sequence[Agent]) -> Iterator[Finding]:
    """Root, space, the right to give files away, and each agent's folder."""
    root = folders.root
    writable = os.access(root, os.W_OK | os.X_OK)
    free = shutil.disk_usage(root).free
    if free < max(LITTLE_BYTES, settings.max_file_bytes):
        said = f"{root}: {free >> 20} MiB free, where a file may have {settings.max_file_bytes >> 20}; make some room"
        yield Finding(what="space", said=said, level="doubtful")
    else:
        yield Finding(what="space", said=f"{root}: {free >> 20} MiB free")
    if folders.beneath is by_walk:
        said = "this kernel has no openat2; paths are walked part by part, which is as safe and slower"
        yield Finding(what="kernel", said=said)
    yield from _giving(settings)
    strays = _strays(folders, agents)
    for agent in agents:
        yield _workspace(folders, agent, strays, may_make=writable)


def _giving(settings: VolumeSettings) -> Iterator[Finding]:
    own = {None, os.geteuid()}
    if settings.uid not in own and os.geteuid() != 0:
        said = f"files cannot be given to user {settings.uid}; run the host as that user, or as root"
        yield Finding(what="uid", said=said, level="wrong")
    if settings.gid not in {None, os.getegid(), *os.getgroups()} and os.geteuid() != 0:
        said = f"files cannot be given to group {settings.gid}; put the host's user into that group"
        yield Finding(what="gid", said=said, level="wrong")


def _strays(folders: Folders, agents: Sequence[Agent]) -> Sequence[str]:
    """Folders of the root that no agent has: where one is missing, it may be meant to be one of them."""
    claimed = set()
    for agent in agents:
        with suppress(Rejected):
            claimed.add(folders.own_folder(agent.workspace).removeprefix(f"{folders.root.rstrip('/')}/").split("/")[0])
    try:
        with os.scandir(folders.fd) as entries:
            there = [entry.name for entry in entries if entry.is_dir(follow_symlinks=False)]
    except OSError:
        return ()
    return sorted(name for name in there if name not in claimed and name != "lost+found" and not name.startswith("."))


def _workspace(folders: Folders, agent: Agent, strays: Sequence[str], *, may_make: bool) -> Finding:
    try:
        own = folders.own_folder(agent.workspace)
        folder = folders.open(agent.workspace)
    except FileNotFoundError:
        if may_make and strays:
            named = ", ".join(strays[:NAMED]) + (", …" if len(strays) > NAMED else "")
            said = f"{own}: is not there; it is made with the first file, or is misspelt: no agent has {named}"
            return Finding(what=agent.id, said=said, level="doubtful")
        if may_make:
            return Finding(what=agent.id, said=f"{own}: is made with the first file")
        said = f"{own}: is not there, and {folders.root} may not be written; make the folder for the host's user"
        return Finding(what=agent.id, said=said, level="wrong")
    except PermissionError:
        said = f"{own}: no right to go into it; give it to the host's user"
        return Finding(what=agent.id, said=said, level="wrong")
    except (OSError, Rejected) as error:
        said = f"workspace_path: {agent.workspace}: {error.strerror if isinstance(error, OSError) else error}"
        return Finding(what=agent.id, said=said, level="wrong")
    try:
        if os.access(f"/proc/self/fd/{folder}", os.R_OK | os.W_OK | os.X_OK):
            return Finding(what=agent.id, said=f"{own}: may be read and written")
        said = f"{own}: no right to read and write; give it to the host's user"
        return Finding(what=agent.id, said=said, level="wrong")
    finally:
        os.close(folder)
