// The list of rooms: the person's Space with its conversations, the direct chat with the bot, and invitations.
import * as sdk from "matrix-js-sdk";

import { words } from "./words";

export interface RoomEntry {
  id: string;
  name: string;
  encrypted: boolean;
  unread: number;
  writing: boolean;
}

export interface Group {
  id: string;
  title: string;
  rooms: RoomEntry[];
}

export function groups(client: sdk.MatrixClient, bot: string): Group[] {
  const joined = client.getRooms().filter((room) => room.getMyMembership() === "join");
  const spaces = joined.filter((room) => room.isSpaceRoom());
  const seen = new Set<string>();
  const found: Group[] = spaces.map((space) => {
    const rooms = children(client, space).filter((room) => !seen.has(room.roomId));
    for (const room of rooms) seen.add(room.roomId);
    return { id: space.roomId, title: space.name, rooms: rooms.map((room) => entry(room)) };
  });
  const rest = joined.filter((room) => !room.isSpaceRoom() && !seen.has(room.roomId));
  const direct = rest.filter((room) => isEntry(room, bot));
  const others = rest.filter((room) => !isEntry(room, bot));
  if (direct.length) found.push({ id: "direct", title: words.direct, rooms: direct.map((room) => entry(room)) });
  if (others.length) found.push({ id: "others", title: words.otherRooms, rooms: others.map((room) => entry(room)) });
  return found;
}

export function invitations(client: sdk.MatrixClient, bot: string): RoomEntry[] {
  return client
    .getRooms()
    .filter((room) => room.getMyMembership() === "invite" && inviter(room) !== bot)
    .map((room) => entry(room));
}

export function inviter(room: sdk.Room): string | undefined {
  return room.getMember(room.myUserId)?.events.member?.getSender();
}

/** The room in which a person first wrote to the bot: theirs, without a conversation bound to it. */
export function isEntry(room: sdk.Room, bot: string): boolean {
  const bound = room.currentState.getStateEvents("io.surfaces.binding", "");
  const there = ["join", "invite"].includes(room.getMember(bot)?.membership ?? "");
  return !room.isSpaceRoom() && !bound && there && room.getCreator() === room.myUserId;
}

/** Messages of others after the last that the person has read. */
export function unread(room: sdk.Room): number {
  const events = room.getLiveTimeline().getEvents();
  const read = room.getEventReadUpTo(room.myUserId);
  let count = 0;
  for (let index = events.length - 1; index >= 0; index -= 1) {
    const event = events[index];
    if (!event || event.getId() === read || event.getSender() === room.myUserId) break;
    if (isSaid(event)) count += 1;
  }
  return count;
}

/** Whether an event is a message of its own: not an edit, a reaction or a change of the room. */
export function isSaid(event: sdk.MatrixEvent): boolean {
  const relation = event.getRelation()?.rel_type;
  if (event.isState() || relation === "m.replace" || relation === "m.annotation") return false;
  // A request to verify is a dialog of its own.
  if (event.getContent().msgtype === "m.key.verification.request") return false;
  return ["m.room.message", "m.room.encrypted", "m.sticker"].includes(event.getType());
}

function children(client: sdk.MatrixClient, space: sdk.Room): sdk.Room[] {
  const order = (event: sdk.MatrixEvent) => String(event.getContent().order ?? "\uffff");
  return space.currentState
    .getStateEvents("m.space.child")
    .filter((event) => Array.isArray(event.getContent().via))
    .sort((one, other) => order(one).localeCompare(order(other)) || one.getTs() - other.getTs())
    .map((event) => client.getRoom(event.getStateKey()))
    .filter((room): room is sdk.Room => room?.getMyMembership() === "join");
}

function entry(room: sdk.Room): RoomEntry {
  return {
    id: room.roomId,
    name: room.name,
    encrypted: room.hasEncryptionStateEvent(),
    unread: unread(room),
    writing: writers(room).length > 0,
  };
}

export function writers(room: sdk.Room): string[] {
  const typing = room.getMembersWithMembership("join").filter((member) => member.typing);
  return typing.filter((member) => member.userId !== room.myUserId).map((member) => member.name);
}
