// Getting in without a step of the person's own: the bot is written to, its invitations are accepted.
import * as sdk from "matrix-js-sdk";

import { inviter, isEntry } from "./rooms";

/** Begins the direct chat with the bot, unless there is one. */
export async function beginWith(client: sdk.MatrixClient, bot: string): Promise<void> {
  if (client.getRooms().some((room) => room.getMyMembership() === "join" && isEntry(room, bot))) return;
  const { room_id } = await client.createRoom({
    is_direct: true,
    invite: [bot],
    preset: sdk.Preset.TrustedPrivateChat,
  });
  const direct = (client.getAccountData(sdk.EventType.Direct)?.getContent() ?? {}) as Record<string, string[]>;
  await client.setAccountData(sdk.EventType.Direct, { ...direct, [bot]: [...(direct[bot] ?? []), room_id] });
}

/** Joins whatever the bot invites to; tells the rooms that are not Spaces. Returns how to end it. */
export function acceptFrom(client: sdk.MatrixClient, bot: string, joined: (room: string) => void): () => void {
  const begun = new Set<string>();
  const look = () => {
    for (const room of client.getRooms()) {
      if (room.getMyMembership() !== "invite" || inviter(room) !== bot || begun.has(room.roomId)) continue;
      begun.add(room.roomId);
      void client
        .joinRoom(room.roomId)
        .then(() => (room.isSpaceRoom() ? undefined : joined(room.roomId)))
        .catch(() => undefined)
        // The bot may invite again after the person has left.
        .finally(() => begun.delete(room.roomId));
    }
  };
  client.on(sdk.ClientEvent.Sync, look);
  look();
  return () => void client.off(sdk.ClientEvent.Sync, look);
}
