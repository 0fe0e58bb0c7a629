"""What a client shows of a room: edits applied, redactions gone."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

from surfaces_testing.homeserver.event import Event
from surfaces_testing.homeserver.room import Room

MARK = "io.surfaces.id"


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """One message as a person sees it now."""

    event_id: str
    sender: str
    body: str
    formatted_body: str | None
    msgtype: str
    url: str | None
    turn: str | None
    """`io.surfaces.id.turn`, which answer of the bot this belongs to."""
    part: int | None
    edits: int = 0
    """How often it was edited."""


def shown(room: Room) -> list[Shown]:
    """Everything a person sees, oldest first."""
    messages: dict[str, Shown] = {}
    for event in _messages(room):
        relation = event.content.get("m.relates_to")
        if isinstance(relation, dict) and relation.get("rel_type") == "m.replace":
            _edit(messages, event, relation.get("event_id", ""))
        else:
            messages[event.event_id] = _shown(event, event.content)
    return list(messages.values())


def _messages(room: Room) -> Iterator[Event]:
    for event in room.timeline:
        if event.type == "m.room.message" and event.redacted_by is None and event.state_key is None:
            yield event


def _edit(messages: dict[str, Shown], edit: Event, target: str) -> None:
    edited = messages.get(target)
    new = edit.content.get("m.new_content")
    # Only the author can edit (Matrix client-server API, "Validity of replacement events").
    if edited is None or edited.sender != edit.sender or not isinstance(new, dict):
        return
    now = _shown(edit, {**new, MARK: new.get(MARK, edit.content.get(MARK))})
    messages[target] = replace(now, event_id=target, edits=edited.edits + 1)


def _shown(event: Event, content: Any) -> Shown:
    mark = content.get(MARK) or {}
    return Shown(
        event_id=event.event_id,
        sender=event.sender,
        body=str(content.get("body", "")),
        formatted_body=content.get("formatted_body"),
        msgtype=str(content.get("msgtype", "")),
        url=content.get("url"),
        turn=mark.get("turn"),
        part=mark.get("part"),
    )
