"""Owns the contract checks of files drivers: what a `Files` promises, one function for each promise.

    @contract.files                                     # of surfaces_core.testing
    def test_contract(…):
        return FilesBench(make=lambda: MyFiles(settings, context), …)

A broken promise is an AssertionError that names it.
"""

from __future__ import annotations

import asyncio
import unicodedata
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass

from surfaces_core.contracts import Files
from surfaces_core.errors import Rejected, Unavailable
from surfaces_core.events import FileRef
from surfaces_core.testing.checks.making import made_quietly

MIB = 1 << 20
_FORBIDDEN = set('<>:"/\\|?*') | {chr(code) for code in (*range(32), 127)}
_DEVICES = {"CON", "PRN", "AUX", "NUL", "COM1", "LPT1"}
_HOSTILE_NAMES = (
    "../../etc/passwd",
    "/etc/passwd",
    "..\\..\\boot.ini",
    "C:\\Users\\ann\\report.pdf",
    "..",
    ".",
    "",
    " . . ",
    "a\0b.txt",
    "line\nbreak\x7f.txt",
    'what? "yes" <b>|*:.txt',
    "CON",
    "con.txt",
    "Lpt1.tar.gz",
    " .hidden. ",
    "e\u0301te\u0301.txt",
    "я" * 300 + ".pdf",
    "\U0001f600" * 100,
    "n" * 300 + "." + "x" * 300,
    "lone \ud800 surrogate.txt",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class FilesBench:
    """What the checks work on; both workspaces are empty at first."""

    make: Callable[[], Files]
    """Gives an unopened driver, every time over the same files."""
    workspace: str
    """An agent's."""
    other_workspace: str
    """Another agent's."""
    write: Callable[[str, str, bytes], None]
    """Put a file into a workspace, `write(workspace, path, data)`, as an agent does; folders are made."""
    limit: int
    """The driver's size limit in bytes; 2 MiB to 4 MiB keep the checks quick."""


FilesCheck = Callable[[FilesBench], Awaitable[None]]


class _Broken(Exception):
    """Raised by a stream that breaks."""


async def check_made_quietly(bench: FilesBench) -> None:
    """Making one touches nothing outside: its block is its lifetime."""
    made_quietly(bench.make)
    _promise(bench.make().max_staged >= 1, "at least one file must be allowed to wait")


async def check_round_trip(bench: FilesBench) -> None:
    """What was saved is opened again under the path that `save` told, byte for byte."""
    async with bench.make() as files:
        ref = await _save(files, bench, "report.pdf", [b"one ", b"", b"two"])
        expected = FileRef(workspace=bench.workspace, path="report.pdf", size=7, mime=ref.mime, kind=ref.kind)
        _promise(ref == expected, f"save must tell where the file is and how large it is, not {ref}")
        _promise(await _read(files, bench, ref.path) == b"one two", "what was saved must be what is read")


async def check_empty_file(bench: FilesBench) -> None:
    """A file of no bytes is a file."""
    async with bench.make() as files:
        ref = await _save(files, bench, "empty.txt", [])
        _promise(ref.size == 0, "an empty stream must give a file of size 0")
        _promise(await _read(files, bench, ref.path) == b"", "an empty file must be read as empty")


async def check_lasting(bench: FilesBench) -> None:
    """Saved files are there for the next driver."""
    async with bench.make() as files:
        ref = await _save(files, bench, "kept.txt", [b"kept"])
    async with bench.make() as files:
        _promise(await _read(files, bench, ref.path) == b"kept", "a saved file must outlive its driver")


async def check_copy_numbers(bench: FilesBench) -> None:
    """A taken name gets a copy number before its extension; nothing is ever overwritten."""
    bench.write(bench.workspace, "report.pdf", b"the agent's own")
    async with bench.make() as files:
        got = [(await _save(files, bench, "report.pdf", [data])).path for data in (b"1", b"2")]
        _promise(got == ["report (1).pdf", "report (2).pdf"], f"a taken name must get a copy number, not {got}")
        kept = await _read(files, bench, "report.pdf")
        _promise(kept == b"the agent's own", "a file that was there must never be overwritten")
        bare = [(await _save(files, bench, "notes", [b""])).path for _ in range(2)]
        _promise(bare == ["notes", "notes (1)"], f"a name without extension gets its number at the end, not {bare}")


async def check_repeated_upload(bench: FilesBench) -> None:
    """An upload that is repeated with its key, in another life of the driver too, stores one file."""
    async with bench.make() as files:
        first = await files.save(bench.workspace, "note.txt", _stream([b"same"]), key="turn.0")
    async with bench.make() as files:
        again = await files.save(bench.workspace, "note.txt", _stream([b"same"]), key="turn.0")
        other = await files.save(bench.workspace, "note.txt", _stream([b"same"]), key="turn.1")
        await files.save(bench.other_workspace, "note.txt", _stream([b"elsewhere"]), key="turn.0")
        _promise(again.path == first.path, "an upload repeated with its key must not store a second file")
        _promise(other.path != first.path, "an upload with another key must get a file of its own")
        kept = await _read(files, bench, first.path)
        _promise(kept == b"same", "an upload with the same key in another workspace must get a file of its own there")


async def check_concurrent_saves(bench: FilesBench) -> None:
    """Uploads at once never share a name."""
    async with bench.make() as files:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(_save(files, bench, "photo.jpg", [b"%d" % n] * 3)) for n in range(12)]
        paths = [task.result().path for task in tasks]
        _promise(len(set(paths)) == len(paths), "two uploads at once must never share a name")
        for number, path in enumerate(paths):
            _promise(await _read(files, bench, path) == b"%d" % number * 3, "uploads at once must not be mixed up")


async def check_broken_stream(bench: FilesBench) -> None:
    """A stream that breaks leaves nothing behind, and its error comes through."""

    async def breaking() -> AsyncIterator[bytes]:
        yield b"half"
        raise _Broken

    async with bench.make() as files:
        try:
            await files.save(bench.workspace, "half.txt", breaking())
        except _Broken:
            await _expect_free(files, bench, "half.txt", "a stream that broke")
        else:
            raise AssertionError("an error of the stream must come out of save")


async def check_cancelled_save(bench: FilesBench) -> None:
    """A save that is cancelled leaves nothing behind."""
    begun = asyncio.Event()

    async def stuck() -> AsyncIterator[bytes]:
        yield b"x" * MIB
        begun.set()
        await asyncio.Event().wait()

    async with bench.make() as files:
        async with asyncio.TaskGroup() as group:
            task = group.create_task(files.save(bench.workspace, "stuck.txt", stuck()))
            await begun.wait()
            task.cancel()
        await _expect_free(files, bench, "stuck.txt", "a save that was cancelled")


async def check_size_limit(bench: FilesBench) -> None:
    """A stream over the limit is refused while it runs, with a sentence, and leaves nothing behind."""

    async def endless() -> AsyncIterator[bytes]:
        while True:
            yield b"x" * 65536

    async with bench.make() as files:
        await _expect_rejected(files.save(bench.workspace, "large.bin", endless()), "a file over the limit")
        ref = await _save(files, bench, "large.bin", [b"x" * bench.limit])
        _promise(ref.path == "large.bin", "a file over the limit must leave nothing behind")
        _promise(ref.size == bench.limit, "a file of just the limit must be taken")


async def check_names(bench: FilesBench) -> None:
    """Whatever a file is called, it gets a harmless name in its own folder."""
    async with bench.make() as files:
        for name in _HOSTILE_NAMES:
            ref = await _save(files, bench, name, [b"x"])
            _promise(not _harm(ref.path), f"{name!r} was saved as {ref.path!r}: {_harm(ref.path)}")
            _promise(await _read(files, bench, ref.path) == b"x", f"{name!r} saved as {ref.path!r} must be readable")
        long = await _save(files, bench, "long " * 100 + ".pdf", [b"x"])
        _promise(long.path.endswith(".pdf"), "a long name must keep its extension")
        unnamed = await files.save(bench.workspace, "...", _stream([b"x"]), mime="application/pdf")
        _promise(unnamed.path == "attachment.pdf", f"an empty name becomes attachment.pdf, not {unnamed.path!r}")


async def check_spellings(bench: FilesBench) -> None:
    """A file is found by its relative path and by the agent's absolute one."""
    bench.write(bench.workspace, "out/chart.csv", b"a,b")
    spellings = ["out/chart.csv", "./out//chart.csv", "/workspace/out/chart.csv"]
    if bench.workspace.startswith("/"):
        spellings.append(f"{bench.workspace}/out/chart.csv")
    async with bench.make() as files:
        for spelling in spellings:
            async with await files.open(bench.workspace, spelling) as opened:
                ref = opened.ref
            right = (ref.workspace, ref.path, ref.size) == (bench.workspace, "out/chart.csv", 3)
            _promise(right, f"{spelling!r} must lead to out/chart.csv, not to {ref}")


async def check_outside(bench: FilesBench) -> None:
    """No spelling leads out of the workspace."""
    bench.write(bench.workspace, "own.txt", b"own")
    bench.write(bench.other_workspace, "secret.txt", b"secret")
    bench.write(f"{bench.workspace}0", "secret.txt", b"of one whose name begins alike")
    other = bench.other_workspace.strip("/").rpartition("/")[2]
    async with bench.make() as files:
        for path in (
            f"{bench.workspace}0/secret.txt",
            f"../{other}/secret.txt",
            f"/workspace/../{other}/secret.txt",
            f"{bench.workspace}/../{other}/secret.txt",
            f"own.txt/../../{other}/secret.txt",
            f"{bench.other_workspace}/secret.txt",
            f"own.txt\0/../../{other}/secret.txt",
            "/etc/passwd",
            "../../../../../../../../etc/passwd",
            "..",
            "/",
            "/workspace",
            "",
            "\ud800",
        ):
            await _expect_rejected(files.open(bench.workspace, path), f"opening {path!r}")


async def check_not_there(bench: FilesBench) -> None:
    """What is missing, is a folder or is too large is refused with a sentence."""
    bench.write(bench.workspace, "folder/file.txt", b"x")
    bench.write(bench.workspace, "large.bin", b"x" * (bench.limit + 1))
    async with bench.make() as files:
        await _expect_rejected(files.open(bench.workspace, "nothing.txt"), "opening a missing file")
        await _expect_rejected(files.open(bench.workspace, "folder"), "opening a folder")
        await _expect_rejected(files.open(bench.workspace, "folder/file.txt/x"), "opening a file below a file")
        await _expect_rejected(files.open(bench.workspace, "large.bin"), "opening a file over the limit")


async def check_pieces(bench: FilesBench) -> None:
    """A large file comes in pieces of at most 1 MiB that add up; closing twice does nothing."""
    data = bytes(range(256)) * (bench.limit // 256)
    bench.write(bench.workspace, "large.bin", data)
    async with bench.make() as files:
        opened = await files.open(bench.workspace, "large.bin")
        pieces = [piece async for piece in opened.chunks()]
        _promise(max(map(len, pieces)) <= MIB, "a piece must be at most 1 MiB")
        _promise(b"".join(pieces) == data, "the pieces must add up to the file")
        await opened.aclose()
        await opened.aclose()


async def check_changed_meanwhile(bench: FilesBench) -> None:
    """A file that changes once it is opened is read as it was, or not at all."""
    before = b"before " * 1000
    bench.write(bench.workspace, "changing.txt", before)
    async with bench.make() as files, await files.open(bench.workspace, "changing.txt") as opened:
        bench.write(bench.workspace, "changing.txt", b"after")
        try:
            data = b"".join([piece async for piece in opened.chunks()])
        except Unavailable:
            return
        _promise(data == before, "a file that shrank since it was opened must be Unavailable, not come in part")


async def check_remove(bench: FilesBench) -> None:
    """Removing takes that file alone, may be repeated, and reaches nothing outside."""
    bench.write(bench.other_workspace, "secret.txt", b"secret")
    other = bench.other_workspace.strip("/").rpartition("/")[2]
    async with bench.make() as files:
        for name in ("a.txt", "b.txt"):
            await _save(files, bench, name, [b"x"])
        for _ in range(2):
            await files.remove(bench.workspace, "a.txt")
        await files.remove(bench.workspace, "no/such/folder.txt")
        await _expect_rejected(files.open(bench.workspace, "a.txt"), "opening a removed file")
        _promise(await _read(files, bench, "b.txt") == b"x", "removing one file must leave the others")
        with suppress(Rejected):
            await files.remove(bench.workspace, f"../{other}/secret.txt")
        async with await files.open(bench.other_workspace, "secret.txt") as opened:
            _promise(opened.ref.size == 6, "remove must not reach into another workspace")


FILES_CHECKS: tuple[FilesCheck, ...] = (
    check_made_quietly,
    check_round_trip,
    check_empty_file,
    check_lasting,
    check_copy_numbers,
    check_repeated_upload,
    check_concurrent_saves,
    check_broken_stream,
    check_cancelled_save,
    check_size_limit,
    check_names,
    check_spellings,
    check_outside,
    check_not_there,
    check_pieces,
    check_changed_meanwhile,
    check_remove,
)
"""Every promise of `Files`."""


def _promise(kept: bool, words: str) -> None:
    if not kept:
        raise AssertionError(words)


async def _stream(chunks: Sequence[bytes]) -> AsyncIterator[bytes]:
    for chunk in chunks:
        await asyncio.sleep(0)  # lets others in between, as a download does
        yield chunk


async def _save(files: Files, bench: FilesBench, name: str, chunks: Sequence[bytes]) -> FileRef:
    return await files.save(bench.workspace, name, _stream(chunks))


async def _read(files: Files, bench: FilesBench, path: str) -> bytes:
    try:
        opened = await files.open(bench.workspace, path)
    except Rejected as error:
        raise AssertionError(f"{path!r} is there and must be opened, not refused ({error})") from None
    async with opened:
        return b"".join([piece async for piece in opened.chunks()])


async def _expect_free(files: Files, bench: FilesBench, name: str, after: str) -> None:
    await _expect_rejected(files.open(bench.workspace, name), f"opening what {after} left")
    ref = await _save(files, bench, name, [b"whole"])
    _promise(ref.path == name, f"{after} must leave nothing behind, so {name!r} must be free, not {ref.path!r}")


async def _expect_rejected(call: Awaitable[object], what: str) -> None:
    try:
        await call
    except Rejected as error:
        said = error.public not in {"", Rejected.default()}
        _promise(said, f"{what} must be refused with a sentence for the person")
    else:
        raise AssertionError(f"{what} must be Rejected")


def _harm(name: str) -> str:
    """What is wrong with a name, or nothing."""
    harms = {
        "it is empty": not name,
        "it is over 200 bytes": len(name.encode(errors="surrogatepass")) > 200,
        "it holds a forbidden character": bool(_FORBIDDEN & set(name)),
        "it begins or ends with a dot or space": name != name.strip(". "),
        "it is not Unicode NFC": not unicodedata.is_normalized("NFC", name),
        "it is a device on Windows": name.partition(".")[0].upper() in _DEVICES,
        "it holds half a character": any("\ud800" <= char <= "\udfff" for char in name),
    }
    return ", ".join(words for words, harmed in harms.items() if harmed)
