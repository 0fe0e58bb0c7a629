"""Contract of a files driver: the folder that an agent and its people share."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import AsyncIterator
from types import TracebackType
from typing import Self

from surfaces_core.contracts.driver import Context, Driver
from surfaces_core.events import FileRef
from surfaces_core.i18n import Catalogue

_ = Catalogue("surfaces_core")


NO_FILES = _("I can't take files here.")


class OpenFile(ABC):
    """One opened, checked file; what was checked is what is read. Close it by `async with`."""

    ref: FileRef

    @abstractmethod
    def chunks(self) -> AsyncIterator[bytes]:
        """The content in pieces of at most 1 MiB; `Unavailable` when it shrank meanwhile."""

    @abstractmethod
    async def aclose(self) -> None:
        """Release it; more than once does nothing."""

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()


class Files(Driver):
    """Moves attachments between a surface and an agent's workspace."""

    context: Context
    max_staged: int = 20
    """How many files may wait in one conversation."""

    @abstractmethod
    async def save(
        self,
        workspace: str,
        name: str,
        chunks: AsyncIterator[bytes],
        *,
        mime: str = "application/octet-stream",
        key: str = "",
    ) -> FileRef:
        """Store a stream under a cleaned, free name; a failure leaves nothing behind.

        `key` names the upload (at most 64 characters `a-z0-9.-`): when a crash hid the answer to an
        earlier call with it, the file of that call is the one that is kept.

        `Rejected` (with a sentence for the person) over the size limit, `Unavailable` on a full disk.
        """

    @abstractmethod
    async def open(self, workspace: str, path: str) -> OpenFile:
        """Open a file that an agent named, however it spells it; never one outside its workspace.

        `Rejected` with a sentence for the person.
        """

    @abstractmethod
    async def remove(self, workspace: str, path: str) -> None:
        """Remove a file that `save` stored; one that is gone already is no error."""
