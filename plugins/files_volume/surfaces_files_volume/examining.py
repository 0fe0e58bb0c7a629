"""A look at the volume before a start, for `surfaces check`; changes nothing."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Sequence

from surfaces_core import Agent, Finding, Rejected
from surfaces_files_volume.beneath import by_walk
from surfaces_files_volume.folders import Folders
from surfaces_files_volume.settings import VolumeSettings

LITTLE_BYTES = 200 << 20


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
    for agent in agents:
        yield _workspace(folders, agent, may_make=writable)


def _giving(settings: VolumeSettings) -> Iterator[Finding]:
    own = {None, os.geteuid()}
    if settings.uid not in own and os.geteuid() != 0:
        said = f"files cannot be given to user {settings.uid}; run the host as that user, or as root"
        yield Finding(what="uid", said=said, level="wrong")
    if settings.gid not in {None, os.getegid(), *os.getgroups()} and os.geteuid() != 0:
        said = f"files cannot be given to group {settings.gid}; put the host's user into that group"
        yield Finding(what="gid", said=said, level="wrong")


def _workspace(folders: Folders, agent: Agent, *, may_make: bool) -> Finding:
    try:
        own = folders.own_folder(agent.workspace)
        folder = folders.open(agent.workspace)
    except FileNotFoundError:
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
