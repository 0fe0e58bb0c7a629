"""The page that says whether people are served: HTML of one overview, which needs nothing from anywhere else."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterable, Sequence
from hashlib import sha256
from html import escape
from http import HTTPStatus

from surfaces_core._operating.health import SurfaceState
from surfaces_core._operating.ops import Answer
from surfaces_core._operating.overview import AgentRow, Standing
from surfaces_core._operating.spans import span

EVERY_S = 10
"""How often a browser asks again."""
STYLE = """
:root{color-scheme:light dark;--text:#1c1c1e;--soft:#5f6368;--paper:#f6f7f9;--card:#fff;--line:#dcdfe4;
--good:#1a7f37;--fair:#9a6700;--bad:#c62828}
@media (prefers-color-scheme:dark){:root{--text:#ececf0;--soft:#a0a4ab;--paper:#16181c;--card:#202329;--line:#363a42;
--good:#4cc26a;--fair:#e3b341;--bad:#ff7b72}}
*{box-sizing:border-box}
body{margin:0;background:var(--paper);color:var(--text);font:16px/1.45 system-ui,sans-serif}
main{max-width:60rem;margin:0 auto;padding:1rem}
h1{margin:0;font-size:1.35rem;overflow-wrap:anywhere}
h2{margin:1.6rem 0 .5rem;font-size:1rem;color:var(--soft)}
header,section div,dl{background:var(--card);border:1px solid var(--line);border-radius:.6rem}
header{padding:1rem;border-left:.5rem solid var(--good)}
header.degraded{border-left-color:var(--fair)}
header.not-served{border-left-color:var(--bad)}
ul{margin:.8rem 0 0;padding-left:1.2rem;overflow-wrap:anywhere}
small{display:block;color:var(--soft);font-size:.9rem}
header p{margin:.5rem 0 0}
code{background:var(--paper);border-radius:.25rem;padding:0 .25rem;font-family:ui-monospace,monospace}
section div{overflow-x:auto}
table{width:100%;border-collapse:collapse;font-size:.92rem}
th,td{padding:.45rem .7rem;text-align:left;white-space:nowrap}
th{color:var(--soft);font-weight:500}
tr+tr td{border-top:1px solid var(--line)}
dl{display:grid;grid-template-columns:repeat(auto-fill,minmax(10rem,1fr));margin:0;padding:.4rem .2rem}
dl div{padding:.4rem .7rem}
dt{color:var(--soft);font-size:.85rem}
dd{margin:0;overflow-wrap:anywhere}
.good{color:var(--good)}.fair{color:var(--fair)}.bad{color:var(--bad)}
footer{margin:1.5rem 0;color:var(--soft);font-size:.85rem}
"""
_HASH = b64encode(sha256(STYLE.encode()).digest()).decode()
HEADERS = {
    "Content-Security-Policy": f"default-src 'none'; style-src 'sha256-{_HASH}'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}
_ANSWERS = {
    "yes": ("good", "yes"),
    "no": ("bad", "no"),
    "failing": ("bad", "fails"),
    "unknown": ("fair", "not asked yet"),
}


def page(told: Standing) -> Answer:
    """The whole page; 503 where nobody is served, so that whatever watches addresses can watch this one."""
    status = HTTPStatus.SERVICE_UNAVAILABLE if told.state == "not served" else HTTPStatus.OK
    return Answer(body=_html(told).encode(), status=status, content_type="text/html; charset=utf-8", headers=HEADERS)


def _html(told: Standing) -> str:
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f'<meta http-equiv="refresh" content="{EVERY_S}"><title>{escape(told.state)} · Surfaces</title>'
        f"<style>{STYLE}</style></head><body><main>\n{_verdict(told)}\n"
        f"{_section('Surfaces', _surfaces(told))}\n{_section('Agents', _agents(told))}\n"
        f"<h2>Messages</h2>\n{_numbers(_messages(told))}\n<h2>This host</h2>\n{_numbers(_host(told))}\n"
        f"<footer>Surfaces {escape(told.version)} · this page asks again every {EVERY_S} s · "
        "<code>surfaces status</code> says the same in a terminal</footer>\n</main></body></html>\n"
    )


def _verdict(told: Standing) -> str:
    return f'<header class="{told.state.replace(" ", "-")}"><h1>{escape(told.verdict)}</h1>{_reasons(told)}</header>'


def _reasons(told: Standing) -> str:
    if len(told.reasons) < 2:  # the verdict says it already
        return "".join(f"<p><small>{_code(why.remedy)}</small></p>" for why in told.reasons)
    items = (f"<li>{escape(why.problem)}<small>{_code(why.remedy)}</small></li>" for why in told.reasons)
    return f"<ul>{''.join(items)}</ul>"


def _code(text: str) -> str:
    """Text in which commands stand between backticks."""
    pieces = escape(text).split("`")
    return "".join(f"<code>{piece}</code>" if number % 2 else piece for number, piece in enumerate(pieces))


Cell = tuple[str, str]
"""Its class, and its text."""


def _section(title: str, rows: Sequence[Sequence[Cell]]) -> str:
    head, *others = rows
    if not others:  # a host that is held has none
        return ""
    names = "".join(f"<th>{escape(text)}</th>" for _, text in head)
    body = "".join(f"<tr>{''.join(map(_cell, row))}</tr>" for row in others)
    return f"<section><h2>{escape(title)}</h2><div><table><tr>{names}</tr>{body}</table></div></section>"


def _cell(cell: Cell) -> str:
    mark, text = cell
    return f'<td class="{mark}">{escape(text)}</td>' if mark else f"<td>{escape(text)}</td>"


def _plain(*texts: str) -> list[Cell]:
    return [("", text) for text in texts]


def _yes(value: bool | None) -> Cell:
    if value is None:
        return "", "–"
    return ("good", "yes") if value else ("bad", "no")


def _surfaces(told: Standing) -> list[list[Cell]]:
    rows = [_plain("", "connected", "admits", "decrypts", "last exchange", "to be sent")]
    return rows + [_surface(name, state) for name, state in told.surfaces.items()]


def _surface(name: str, state: SurfaceState) -> list[Cell]:
    flags = [_yes(state.connected), _yes(state.admits), _yes(state.decrypts)]
    return [("", name), *flags, *_plain(_ago(state.exchanged_s), str(state.outbox))]


def _agents(told: Standing) -> list[list[Cell]]:
    rows = [_plain("", "answers", "last answer", "last failure", "running", "waiting", "oldest")]
    rows += [_agent(row) for row in told.agents]
    if told.agents_left_out:
        rows.append(_plain(f"and {told.agents_left_out} more"))
    return rows


def _agent(row: AgentRow) -> list[Cell]:
    failure = f"{row.failure}, {_ago(row.failed_s)}" if row.failure else "–"
    oldest = span(row.oldest_s) if row.running or row.waiting else "–"
    return [
        ("", row.id),
        _ANSWERS[row.answers],
        *_plain(_ago(row.answered_s), failure, str(row.running), str(row.waiting), oldest),
    ]


def _ago(seconds: float | None) -> str:
    return "–" if seconds is None else f"{span(seconds)} ago"


def _numbers(pairs: Iterable[tuple[str, str]]) -> str:
    return f"<dl>{''.join(f'<div><dt>{escape(name)}</dt><dd>{_code(value)}</dd></div>' for name, value in pairs)}</dl>"


def _messages(told: Standing) -> Iterable[tuple[str, str]]:
    yield "to be answered", _depth(told.inbox, told.inbox_oldest_s)
    yield "to be shown", _depth(told.outbox, told.outbox_oldest_s)
    yield "given up", f"{told.dead_letters}, see `surfaces dead list`" if told.dead_letters else "0"


def _depth(count: int, oldest_s: float) -> str:
    return f"{count}, the oldest for {span(oldest_s)}" if count else "0"


def _host(told: Standing) -> Iterable[tuple[str, str]]:
    yield "state", "writable" if told.writable else "cannot be written"
    if told.write_s is not None:
        yield "one commit", f"{told.write_s * 1000:.1f} ms"
    if told.free_mib is not None:
        yield "free disk", f"{told.free_mib:,} MiB"
    if told.loop_lag_s is not None:
        yield "event loop late by", f"{told.loop_lag_s * 1000:.0f} ms"
    yield "memory", f"{told.resident_mib} MiB"
    yield "running for", span(told.uptime_s)
