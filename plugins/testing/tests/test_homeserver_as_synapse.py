"""The same short script on the homeserver in memory and on Synapse shows the same things."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import quote, unquote

import aiohttp
import pytest

from surfaces_demo.synapse import Synapse
from surfaces_testing.homeserver import FakeHomeserver

V3 = "/_matrix/client/v3"
VARYING_KEYS = {
    "next_batch", "prev_batch", "start", "end", "access_token", "origin_server_ts", "age", "home_server",
    "content_uri", "filter_id", "ts", "m.upload.size", "error",
}  # fmt: skip
NOT_OURS = {
    # Counts and summaries that bots do not read, and features that are not offered.
    "summary", "unread_notifications", "unread_thread_notifications", "device_one_time_keys_count",
    "device_lists", "device_unused_fallback_key_types", "org.matrix.msc2732.device_unused_fallback_key_types",
    # Deprecated copies of what stands elsewhere in the same answer.
    "user_id", "well_known",
    # There or not depending on what Synapse has in its cache.
    "prev_content", "prev_sender",
    # Account data that Synapse keeps for each user by itself.
    "account_data",
}  # fmt: skip


class Client:
    """One logged-in user who writes down what they are answered."""

    def __init__(self, http: aiohttp.ClientSession, url: str, story: Story) -> None:
        self.http = http
        self.url = url
        self.story = story
        self.headers: dict[str, str] = {}
        self.user_id = ""

    async def log_in(self, user_id: str, password: str) -> None:
        identifier = {"type": "m.id.user", "user": user_id}
        body = {"type": "m.login.password", "identifier": identifier, "password": password, "device_id": "DEVICE"}
        answer = await self.call("POST", "/login", body)
        self.headers = {"Authorization": f"Bearer {answer['access_token']}"}
        self.user_id = user_id

    async def call(self, method: str, path: str, body: object = None, **query: str) -> Any:
        async with self.http.request(
            method, f"{self.url}{V3}{path}", json=body, params=query, headers=self.headers
        ) as response:
            answer = await response.json()
        self.story.tell(method, path, response.status, answer)
        return answer


class Story:
    """What happened, with ids and times replaced by the order they were met in."""

    def __init__(self, server_name: str) -> None:
        self.lines: list[tuple[str, int, Any]] = []
        self._server_name = server_name
        self._names: dict[str, str] = {}

    def tell(self, method: str, path: str, status: int, answer: Any) -> None:
        if path.endswith(("/state", "/members")) and status == 200:
            answer = _sorted(answer if isinstance(answer, list) else answer["chunk"])
        self.lines.append((f"{method} {self._path(path)}", status, self._plain(answer)))

    def _path(self, path: str) -> str:
        return "/".join(part if part[:1] not in ("%", "!", "$", "@") else "…" for part in path.split("/"))

    def _plain(self, value: Any) -> Any:
        if isinstance(value, dict):
            kept = {self._plain(key): value[key] for key in sorted(value, key=self._name) if key not in NOT_OURS}
            if "timeline" in kept and "state" in kept:
                # The order of state is nobody's business, that of the timeline is.
                kept["state"] = _sorted(kept["state"]["events"])
            return {key: "…" if key in VARYING_KEYS else self._plain(item) for key, item in kept.items()}
        if isinstance(value, list):
            return [self._plain(item) for item in value]
        return self._name(value) if isinstance(value, str) else value

    def _name(self, text: str) -> str:
        if text[:1] in ("!", "$") and len(text) > 20:
            return self._names.setdefault(text, f"{text[0]}{len(self._names)}")
        return text.replace(self._server_name, "SERVER")


def _sorted(state: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return sorted(state, key=lambda event: (event["type"], event["state_key"]))


async def play(url: str, server_name: str, bot: tuple[str, str], ann: tuple[str, str], version: str) -> Story:
    """Invite, join, talk, edit, redact, repeat, leave: what a bot's life is made of."""
    story = Story(server_name)
    async with aiohttp.ClientSession() as http:
        b, a = Client(http, url, story), Client(http, url, story)
        await b.log_in(*bot)
        await a.log_in(*ann)
        await _story(a, b, version)
    return story


async def _story(a: Client, b: Client, version: str) -> None:
    first = await b.call("GET", "/sync", timeout="0")
    made = await a.call(
        "POST",
        "/createRoom",
        {
            "invite": [b.user_id],
            "is_direct": True,
            "preset": "trusted_private_chat",
            "name": "Talk",
            "topic": "What is up",
            "room_version": version,
            "initial_state": [{"type": "org.example", "state_key": "x", "content": {"a": 1}}],
        },
    )
    room = f"/rooms/{quote(made['room_id'])}"
    await b.call("PUT", f"{room}/send/m.room.message/0", {"msgtype": "m.text", "body": "too early"})
    invited = await b.call("GET", "/sync", since=first["next_batch"], timeout="1000")
    await b.call("POST", f"{room}/join", {})
    await b.call("POST", f"{room}/join", {})
    await a.call("POST", f"{room}/invite", {"user_id": b.user_id})
    joined = await b.call("GET", "/sync", since=invited["next_batch"], timeout="1000")
    for number in range(12):
        await a.call("PUT", f"{room}/send/m.room.message/{number}", {"msgtype": "m.text", "body": f"{number}"})
    gap = await b.call("GET", "/sync", since=joined["next_batch"], timeout="1000")
    (entry,) = gap["rooms"]["join"].values()
    older = {"from": entry["timeline"]["prev_batch"], "to": joined["next_batch"], "dir": "b", "limit": "10"}
    await b.call("GET", f"{room}/messages", **older)
    await b.call("GET", f"{room}/messages", dir="b", limit="3")
    await b.call("GET", f"{room}/messages", dir="f", limit="3")
    await b.call("GET", f"{room}/messages", dir="b", limit="500")
    said = await b.call("PUT", f"{room}/send/m.room.message/same", {"msgtype": "m.text", "body": "one"})
    await b.call("PUT", f"{room}/send/m.room.message/same", {"msgtype": "m.text", "body": "two"})
    await b.call("GET", f"{room}/event/{quote(said['event_id'])}")
    await a.call("GET", f"{room}/event/{quote(said['event_id'])}")
    relation = {"rel_type": "m.replace", "event_id": said["event_id"]}
    new = {"msgtype": "m.text", "body": "three"}
    await b.call("PUT", f"{room}/send/m.room.message/edit", {**new, "m.new_content": new, "m.relates_to": relation})
    await a.call("PUT", f"{room}/redact/{quote(said['event_id'])}/r", {"reason": "no"})
    await a.call("PUT", f"{room}/redact/{quote('$nothing')}/r2", {})
    await a.call("GET", f"{room}/event/{quote(said['event_id'])}")
    await a.call("PUT", f"{room}/state/m.room.name/", {"name": "Other"})
    await a.call("PUT", f"{room}/state/m.room.name", {"name": "Other"})
    await b.call("GET", f"{room}/state/m.room.name")
    await b.call("GET", f"{room}/state/m.room.name", format="event")
    await b.call("GET", f"{room}/state/org.nothing/x")
    await b.call("GET", f"{room}/state")
    await b.call("GET", f"{room}/members")
    await b.call("GET", f"{room}/joined_members")
    await b.call("GET", "/joined_rooms")
    await b.call("GET", "/account/whoami")
    await a.call("PUT", f"{room}/typing/{quote(a.user_id)}", {"typing": True, "timeout": 30_000})
    talked = await b.call("GET", "/sync", since=gap["next_batch"], timeout="1000")
    await b.call("GET", "/sync", timeout="0", filter=json.dumps({"room": {"timeline": {"limit": 2}}}))
    await b.call("GET", "/sync", timeout="0", filter=json.dumps({"room": {"state": {"lazy_load_members": True}}}))
    await b.call("GET", "/sync", since=talked["next_batch"], timeout="0")
    await b.call("GET", "/sync", since="nonsense", timeout="0")
    await _refused(a, b, room, version)
    await _powers(a, b, version)
    await b.call("POST", f"{room}/leave", {})
    gone = await b.call("GET", "/sync", since=talked["next_batch"], timeout="1000")
    await b.call("PUT", f"{room}/send/m.room.message/late", {"msgtype": "m.text", "body": "late"})
    await b.call("GET", f"{room}/joined_members")
    await a.call("POST", f"{room}/invite", {"user_id": b.user_id})
    again = await b.call("GET", "/sync", since=gone["next_batch"], timeout="1000")
    await b.call("POST", f"{room}/leave", {})
    await b.call("GET", "/sync", since=again["next_batch"], timeout="1000")
    await b.call("POST", f"{room}/forget", {})
    # Synapse answers a repeated sync from its cache, so this one asks a little differently.
    await b.call("GET", "/sync", timeout="0", filter=json.dumps({"room": {"timeline": {"limit": 9}}}))
    await b.call("POST", "/logout", {})
    await b.call("GET", "/account/whoami")


async def _refused(a: Client, b: Client, room: str, version: str) -> None:
    await b.call("PUT", f"{room}/send/m.room.message/big", {"msgtype": "m.text", "body": "x" * 66_000})
    await b.call("POST", "/createRoom", {"preset": "no_such"})
    await b.call("POST", "/createRoom", {"room_version": "no_such"})
    without_us = {"power_level_content_override": {"users": {a.user_id: 100}}, "room_version": version}
    await b.call("POST", "/createRoom", without_us)
    await b.call("POST", "/join/!nowhere:nohost")
    await b.call("POST", f"/join/{quote('#nowhere')}:{a.user_id.partition(':')[2]}")
    await b.call("GET", f"{room}/event/%24nothing")
    await b.call("GET", "/rooms/!nowhere/state")
    await b.call("POST", f"{room}/invite", {})
    await b.call("POST", f"{room}/kick", {"user_id": "@nobody:nowhere"})
    await b.call("GET", "/user/x/filter/0")
    await b.call("GET", "/no/such/thing")
    space = {"creation_content": {"type": "m.space"}, "room_alias_name": f"alias{version}", "name": "Space"}
    made = await b.call("POST", "/createRoom", space | {"room_version": version})
    await b.call("POST", "/createRoom", space | {"room_version": version})
    child = f"/rooms/{quote(made['room_id'])}"
    await b.call("GET", f"{child}/state")
    await a.call("POST", f"{child}/join", {})
    await b.call("POST", f"{child}/leave", {})


async def _powers(a: Client, b: Client, version: str) -> None:
    server = a.user_id.partition(":")[2]
    config = {"invite": [b.user_id, f"@nobody:{server}"], "room_version": version, "visibility": "private"}
    room = f"/rooms/{quote((await a.call('POST', '/createRoom', config))['room_id'])}"
    await b.call("POST", f"{room}/join", {})
    said = await a.call("PUT", f"{room}/send/m.room.message/1", {"msgtype": "m.text", "body": "mine"})
    await b.call("PUT", f"{room}/state/m.room.name", {"name": "Not allowed"})
    await b.call("PUT", f"{room}/redact/{quote(said['event_id'])}/r", {})
    await b.call("POST", f"{room}/kick", {"user_id": a.user_id})
    await b.call("POST", f"{room}/invite", {"user_id": f"@somebody:{server}"})
    await b.call("PUT", f"{room}/state/org.example/{quote(a.user_id)}", {})
    await b.call("PUT", f"{room}/typing/{quote(a.user_id)}", {"typing": True})
    await b.call("POST", f"{room}/receipt/m.read/{quote(said['event_id'])}", {})
    await a.call("PUT", f"{room}/state/m.room.power_levels", {"users": {a.user_id: 100, b.user_id: 50}})
    await a.call("PUT", f"{room}/state/m.room.power_levels", _levels(a, b, version))
    await b.call("PUT", f"{room}/state/m.room.name", {"name": "Allowed"})
    await b.call("PUT", f"{room}/state/m.room.power_levels", {"users_default": 100})
    seen = await b.call("GET", "/sync", timeout="0", filter=json.dumps({"room": {"timeline": {"limit": 7}}}))
    await a.call("POST", f"{room}/kick", {"user_id": b.user_id, "reason": "out"})
    await a.call("POST", f"{room}/kick", {"user_id": b.user_id, "reason": "out"})
    kicked = await b.call("GET", "/sync", since=seen["next_batch"], timeout="0")
    await b.call("POST", f"{room}/join", {})
    await a.call("POST", f"{room}/ban", {"user_id": b.user_id})
    await a.call("POST", f"{room}/invite", {"user_id": b.user_id})
    await b.call("GET", "/sync", since=kicked["next_batch"], timeout="0")
    await a.call("POST", f"{room}/unban", {"user_id": b.user_id})
    await a.call("POST", f"{room}/forget", {})
    await _names(a, b, server, version)


def _levels(a: Client, b: Client, version: str) -> dict[str, Any]:
    """Creators must not stand in the power levels of version 12, and must in those of version 11."""
    return {"users": {b.user_id: 50} | ({a.user_id: 100} if version == "11" else {})}


async def _names(a: Client, b: Client, server: str, version: str) -> None:
    room = (await a.call("POST", "/createRoom", {"room_version": version, "preset": "public_chat"}))["room_id"]
    alias = quote(f"#name{version}:{server}")
    await a.call("GET", f"/directory/room/{alias}")
    await a.call("PUT", f"/directory/room/{alias}", {"room_id": room})
    await a.call("PUT", f"/directory/room/{alias}", {"room_id": room})
    await b.call("GET", f"/directory/room/{alias}")
    await b.call("POST", f"/join/{alias}", {})
    await b.call("DELETE", f"/directory/room/{alias}")
    await a.call("DELETE", f"/directory/room/{alias}")
    await a.call("DELETE", f"/directory/room/{alias}")
    await b.call("PUT", f"/profile/{quote(b.user_id)}/displayname", {"displayname": b.user_id[1:].partition(":")[0]})
    await b.call("PUT", f"/profile/{quote(a.user_id)}/displayname", {"displayname": "Ann"})
    await b.call("GET", f"/profile/{quote(b.user_id)}/displayname")
    await b.call("GET", f"/profile/{quote(b.user_id)}")
    await b.call("GET", f"/profile/{quote(f'@nobody:{server}')}")
    await b.call("GET", f"/rooms/{quote(room)}/state/m.room.member/{quote(b.user_id)}")
    kept = await b.call("POST", f"/user/{quote(b.user_id)}/filter", {"room": {"timeline": {"limit": 1}}})
    await b.call("GET", f"/user/{quote(b.user_id)}/filter/{kept['filter_id']}")
    await b.call("GET", "/sync", timeout="0", filter=kept["filter_id"])
    await b.call("PUT", f"/user/{quote(b.user_id)}/account_data/org.example", {"a": 1})
    await b.call("GET", f"/user/{quote(b.user_id)}/account_data/org.example")
    await b.call("GET", f"/user/{quote(b.user_id)}/account_data/org.nothing")
    await _filtered(a, b, f"/rooms/{quote(room)}")
    await b.call("POST", f"/rooms/{quote(room)}/leave", {})


async def _filtered(a: Client, b: Client, room: str) -> None:
    """State that the timeline's filter hides comes as state, but for what a chain without gaps already tells."""
    # Of two changes of one thing, both hidden, Synapse shows one by chance: each round has its own thing.
    messages = {"types": ["m.room.message"]}
    rounds: list[dict[str, Any]] = [
        {"timeline": {**messages, "limit": 3}, "state": {"types": ["org.example.0"]}},
        {"timeline": messages, "state": {"types": ["org.example.1", "m.room.member"], "lazy_load_members": True}},
        {"timeline": {"limit": 3}, "state": {"not_types": ["*"]}},
    ]
    for number, chosen in enumerate(rounds):
        chosen["rooms"] = [unquote(room.removeprefix("/rooms/"))]
        query = {"timeout": "0", "filter": json.dumps({"room": chosen})}
        since = (await b.call("GET", "/sync", **query))["next_batch"]
        for burst in (1, 2, 5):
            await a.call("PUT", f"{room}/state/org.example.{number}", {"burst": burst})
            for message in range(burst):
                said = {"msgtype": "m.text", "body": f"{message}"}
                await a.call("PUT", f"{room}/send/m.room.message/{number}.{burst}.{message}", said)
            since = (await b.call("GET", "/sync", since=since, **query))["next_batch"]
    await a.call("PUT", f"{room}/send/m.room.message/no.type", {"body": "what am I?"})


@pytest.fixture(params=["11", "12"])
def version(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
async def ours(version: str) -> AsyncIterator[Story]:
    async with FakeHomeserver("localhost", version) as hs:
        hs.register(f"@bot{version}:localhost", "secret")
        hs.register(f"@ann{version}:localhost", "secret")
        yield await play(
            hs.url, "localhost", (f"@bot{version}:localhost", "secret"), (f"@ann{version}:localhost", "secret"), version
        )


@pytest.mark.slow
async def test_a_bots_life_shows_the_same_as_on_synapse(ours: Story, version: str, synapse: Synapse) -> None:
    """Every answer of the script has the same status and, ids and times aside, the same content as Synapse's."""
    bot = await synapse.register(f"bot{version}")
    ann = await synapse.register(f"ann{version}")
    theirs = await play(synapse.url, "localhost", (bot.user_id, bot.password), (ann.user_id, ann.password), version)

    for our_line, their_line in zip(ours.lines, theirs.lines, strict=True):
        assert our_line == their_line
