"""The timeline folds the answers of `/sync` into what a client shows."""

from __future__ import annotations

from typing import Any

from surfaces_demo.timeline import Timeline

BOT = "@bot:localhost"


def message(event_id: str, text: str, sender: str = BOT, **content: Any) -> dict[str, Any]:
    return {
        "type": "m.room.message",
        "event_id": event_id,
        "sender": sender,
        "content": {"msgtype": "m.text", "body": text, **content},
    }


def edit(event_id: str, of: str, text: str, sender: str = BOT) -> dict[str, Any]:
    relation = {"rel_type": "m.replace", "event_id": of}
    new = {"msgtype": "m.text", "body": text}
    return message(event_id, f"* {text}", sender, **{"m.relates_to": relation, "m.new_content": new})


def joined(*events: dict[str, Any]) -> dict[str, Any]:
    return {"rooms": {"join": {"!a": {"timeline": {"events": list(events)}}}}}


def feed(*syncs: dict[str, Any]) -> Timeline:
    timeline = Timeline("@ann:localhost")
    for sync in syncs:
        timeline.feed(sync)
    return timeline


def test_edits_are_versions_of_one_message() -> None:
    """An edit replaces what a message says and its earlier versions are remembered."""
    room = feed(joined(message("$1", "one")), joined(edit("$2", "$1", "one two"))).room("!a")
    assert [(each.text, each.versions) for each in room.messages.values()] == [("one two", ["one", "one two"])]


def test_others_cannot_edit() -> None:
    """An edit by anybody but the author changes nothing."""
    room = feed(joined(message("$1", "one"), edit("$2", "$1", "mine", sender="@eve:localhost"))).room("!a")
    assert [each.text for each in room.messages.values()] == ["one"]


def test_the_same_event_twice_is_one_message() -> None:
    """An event that comes in two syncs shows once."""
    assert len(feed(joined(message("$1", "one")), joined(message("$1", "one"))).room("!a").messages) == 1


def test_the_bots_mark_is_read() -> None:
    """The turn and part that the bot writes into its events are known of each message."""
    mark: dict[str, Any] = {"io.surfaces.id": {"turn": "t", "part": 2}}
    marked = message("$1", "one", **mark)
    (shown,) = feed(joined(marked)).room("!a").messages.values()
    assert (shown.turn, shown.part) == ("t", 2)


def test_redacted_messages_do_not_show() -> None:
    """An event without content is no message."""
    empty = {**message("$1", ""), "content": {}}
    assert feed(joined(empty)).room("!a").messages == {}


def test_invitations_tell_rooms_from_spaces() -> None:
    """The stripped state of an invitation says what it is and its name."""
    state = [
        {"type": "m.room.create", "content": {"type": "m.space"}, "state_key": "", "sender": BOT},
        {"type": "m.room.name", "content": {"name": "Home"}, "state_key": "", "sender": BOT},
    ]
    room = feed({"rooms": {"invite": {"!s": {"invite_state": {"events": state}}}}}).room("!s")
    assert (room.membership, room.space, room.name) == ("invite", True, "Home")


def test_children_of_a_space_come_and_go() -> None:
    """A child without `via` is no child any more (Matrix client-server API, "Spaces")."""

    def child(content: dict[str, Any]) -> dict[str, Any]:
        return joined({"type": "m.space.child", "state_key": "!c", "sender": BOT, "content": content})

    assert feed(child({"via": ["localhost"]})).room("!a").children == {"!c": True}
    assert feed(child({"via": ["localhost"]}), child({})).room("!a").children == {"!c": False}
