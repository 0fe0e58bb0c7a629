// When to look again: every change of the client becomes one repaint of what shows.
import * as sdk from "matrix-js-sdk";
import { CryptoEvent } from "matrix-js-sdk/lib/crypto-api/index.js";
import { useEffect, useState } from "preact/hooks";

const EVENTS = [
  sdk.ClientEvent.Sync,
  sdk.ClientEvent.Room,
  sdk.RoomEvent.Name,
  sdk.RoomEvent.MyMembership,
  sdk.RoomEvent.Timeline,
  sdk.RoomEvent.TimelineReset,
  sdk.RoomEvent.LocalEchoUpdated,
  sdk.RoomEvent.Redaction,
  sdk.RoomEvent.Receipt,
  sdk.RoomStateEvent.Events,
  sdk.RoomMemberEvent.Typing,
  sdk.MatrixEventEvent.Decrypted,
  sdk.MatrixEventEvent.Replaced,
  CryptoEvent.UserTrustStatusChanged,
] as const;

export function useChanges(client: sdk.MatrixClient): number {
  const [count, setCount] = useState(0);
  useEffect(() => {
    let waiting = false;
    // Not an animation frame: a page in the background must not fall behind.
    const look = () => {
      if (waiting) return;
      waiting = true;
      setTimeout(() => {
        waiting = false;
        setCount((before) => before + 1);
      }, 16);
    };
    for (const event of EVENTS) client.on(event as sdk.ClientEvent.Sync, look);
    return () => {
      for (const event of EVENTS) client.off(event as sdk.ClientEvent.Sync, look);
    };
  }, [client]);
  return count;
}
