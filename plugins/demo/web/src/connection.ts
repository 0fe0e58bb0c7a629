// Whether the homeserver answers, and what happens to messages that it did not take.
import * as sdk from "matrix-js-sdk";

export function isOffline(client: sdk.MatrixClient): boolean {
  const state = client.getSyncState();
  return state === sdk.SyncState.Error || state === sdk.SyncState.Reconnecting;
}

/** Sends what could not be sent as soon as the homeserver is there again. Returns how to end it. */
export function sendAgainWhenBack(client: sdk.MatrixClient): () => void {
  const look = (state: sdk.SyncState, before: sdk.SyncState | null) => {
    if (state !== sdk.SyncState.Syncing || before === sdk.SyncState.Syncing) return;
    for (const room of client.getRooms()) {
      // Under the transaction id that it had, so nothing shows twice.
      for (const event of unsent(room)) void client.resendEvent(event, room).catch(() => undefined);
    }
  };
  client.on(sdk.ClientEvent.Sync, look);
  return () => void client.off(sdk.ClientEvent.Sync, look);
}

function unsent(room: sdk.Room): sdk.MatrixEvent[] {
  const events = room.getLiveTimeline().getEvents();
  return events.filter((event) => event.status === sdk.EventStatus.NOT_SENT && !isRefused(event));
}

/** Whether the homeserver has read a message and does not want it. */
function isRefused(event: sdk.MatrixEvent): boolean {
  const status = event.error?.httpStatus ?? 0;
  return status >= 400 && status < 500 && status !== 429;
}
