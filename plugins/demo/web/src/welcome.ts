// Getting in without a step of the person's own: the bot is written to, its invitations are accepted.
import * as sdk from "matrix-js-sdk";

import { inviter, isEntry } from "./rooms";

/** Begins the direct chat with the bot, unless there is one. */
export async function beginWith(client: sdk.MatrixClient, bot: string): Promise<void> {
  if (client.getRooms().some((room) => room.getMyMembership() === "join" && isEntry(room, bot))) return;
  const direct = (await client.getAccountDataFromServer(sdk.EventType.Direct)) ?? {};
  if (await isDirect(client, bot, direct[bot] ?? [])) return;
  const { room_id } = await client.createRoom({
    is_direct: true,
    invite: [bot],
    preset: sdk.Preset.TrustedPrivateChat,
  });
  await client.setAccountData(sdk.EventType.Direct, { ...direct, [bot]: [...(direct[bot] ?? []), room_id] });
}

/** Whether both are in one of the rooms. The first sync cannot tell: see `acceptFrom`. */
async function isDirect(client: sdk.MatrixClient, bot: string, rooms: string[]): Promise<boolean> {
  const { joined_rooms } = await client.getJoinedRooms();
  for (const room of rooms.filter((known) => joined_rooms.includes(known))) {
    const member = await client.getStateEvent(room, sdk.EventType.RoomMember, bot).catch(() => null);
    if (["join", "invite"].includes(String(member?.membership))) return true;
  }
  return false;
}

/** Joins whatever the bot invites to; tells the rooms that are not Spaces. Returns how to end it. */
export function acceptFrom(client: sdk.MatrixClient, bot: string, joined: (room: string) => void): () => void {
  const begun = new Set<string>();
  const inside = new Set<string>();
  // A page that was just reloaded may hear of old invitations again: for two minutes Synapse answers the first syncs
  // of a device as it did before. What was joined then is nothing to open now.
  const before = client.getJoinedRooms().then((known) => known.joined_rooms, () => [] as string[]);
  const look = () => {
    for (const room of client.getRooms()) {
      if (room.getMyMembership() === "leave") inside.delete(room.roomId);
      if (room.getMyMembership() !== "invite" || inviter(room) !== bot || begun.has(room.roomId)) continue;
      if (inside.has(room.roomId)) {
        // A sync behind the join may tell of the invitation once more; nothing would ever tell of the join again.
        room.updateMyMembership("join");
        continue;
      }
      begun.add(room.roomId);
      void client
        .joinRoom(room.roomId)
        .then(async () => {
          inside.add(room.roomId);
          if (!room.isSpaceRoom() && !(await before).includes(room.roomId)) joined(room.roomId);
        })
        .catch(() => undefined)
        // The bot may invite again after the person has left.
        .finally(() => begun.delete(room.roomId));
    }
  };
  client.on(sdk.ClientEvent.Sync, look);
  look();
  return () => void client.off(sdk.ClientEvent.Sync, look);
}
