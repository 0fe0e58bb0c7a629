// Rooms: making, joining and leaving them, their state, and what is sent there.

const ENCRYPTED = { type: "m.room.encryption", state_key: "", content: { algorithm: "m.megolm.v1.aes-sha2" } };

export async function create_room({ client }, { encrypted, invite, name, direct, options }) {
  const { room_id } = await client.createRoom({
    preset: "trusted_private_chat",
    is_direct: direct,
    invite,
    name: name ?? undefined,
    initial_state: encrypted ? [ENCRYPTED] : [],
    ...options,
  });
  return room_id;
}

export async function join({ client }, { room }) {
  return (await client.joinRoom(room)).roomId;
}

export async function leave({ client }, { room }) {
  await client.leave(room);
}

export async function invite({ client }, { room, user }) {
  await client.invite(room, user);
}

export async function kick({ client }, { room, user, reason }) {
  await client.kick(room, user, reason ?? undefined);
}

export async function set_state({ client }, { room, type, key, content }) {
  return (await client.sendStateEvent(room, type, content, key)).event_id;
}

// Content of a state event; null where there is none.
export async function state(session, { room, type, key }) {
  return session.room(room).currentState.getStateEvents(type, key)?.getContent() ?? null;
}

// Sends any event, encrypted where the room is.
export async function send({ client }, { room, type, content, txn }) {
  return (await client.sendEvent(room, null, type, content, txn ?? undefined)).event_id;
}

export async function redact({ client }, { room, event, reason }) {
  return (await client.redactEvent(room, event, undefined, reason ? { reason } : {})).event_id;
}

export async function set_typing({ client }, { room, typing }) {
  await client.sendTyping(room, typing, 20_000);
}

export async function read(session, { room, event }) {
  await session.client.sendReadReceipt(session.room(room).findEventById(event));
}

export async function rooms({ client }) {
  return client.getRooms().map((room) => ({
    room_id: room.roomId,
    name: room.name,
    membership: room.getMyMembership(),
    space: room.isSpaceRoom(),
    encrypted: room.hasEncryptionStateEvent(),
    inviter: room.getMyMembership() === "invite" ? inviter(room) : null,
    members: Object.fromEntries(room.getMembers().map((member) => [member.userId, member.membership])),
    typing: room.getMembers().filter((member) => member.typing).map((member) => member.userId),
    unread: room.getUnreadNotificationCount(),
    children: room.currentState
      .getStateEvents("m.space.child")
      .filter((event) => event.getContent().via)
      .map((event) => event.getStateKey()),
  }));
}

function inviter(room) {
  return room.getMember(room.myUserId)?.events.member?.getSender() ?? null;
}
