// The session of one person: logging in, staying logged in over a reload, starting and ending the client.
import * as sdk from "matrix-js-sdk";
import type { Logger } from "matrix-js-sdk/lib/logger.js";

import { words } from "./words";

export interface Config {
  homeserver: string;
  bot: string;
  /** An account that the demo offers. */
  offer: { user_id: string; password: string } | null;
}

interface Kept {
  homeserver: string;
  user_id: string;
  device_id: string;
  access_token: string;
}

const KEPT = "surfaces.session";
const quiet: Logger = { trace() {}, debug() {}, info() {}, warn() {}, error() {}, getChild: () => quiet };

export async function fetchConfig(): Promise<Config> {
  const response = await fetch("config.json");
  if (!response.ok) throw new Error("The page does not know its homeserver.");
  return (await response.json()) as Config;
}

export async function logIn(config: Config, user: string, password: string): Promise<sdk.MatrixClient> {
  const answer = await sdk.createClient({ baseUrl: config.homeserver, logger: quiet }).loginRequest({
    type: "m.login.password",
    identifier: { type: "m.id.user", user: user.trim() },
    password,
    initial_device_display_name: words.device,
  });
  const kept = { homeserver: config.homeserver, ...answer };
  localStorage.setItem(KEPT, JSON.stringify(kept));
  return await start(kept);
}

/** The client of the person who was logged in before; null where nobody was, or the homeserver forgot them. */
export async function restore(config: Config): Promise<sdk.MatrixClient | null> {
  const text = localStorage.getItem(KEPT);
  if (!text) return null;
  const kept = JSON.parse(text) as Kept;
  if (kept.homeserver !== config.homeserver) return null;
  try {
    return await start(kept);
  } catch (error) {
    if (!(error instanceof sdk.MatrixError) || error.errcode !== "M_UNKNOWN_TOKEN") throw error;
    forget();
    return null;
  }
}

export function forget(): void {
  localStorage.removeItem(KEPT);
}

/** Calls once the homeserver no longer knows this session. Returns how to end it. */
export function onLoggedOut(client: sdk.MatrixClient, done: () => void): () => void {
  const end = () => {
    forget();
    client.stopClient();
    void client.clearStores().catch(() => undefined);
    done();
  };
  client.once(sdk.HttpApiEvent.SessionLoggedOut, end);
  return () => void client.off(sdk.HttpApiEvent.SessionLoggedOut, end);
}

export async function logOut(client: sdk.MatrixClient): Promise<void> {
  forget();
  client.stopClient();
  await client.logout(true).catch(() => undefined);
  await client.clearStores().catch(() => undefined);
  location.reload();
}

async function start(kept: Kept): Promise<sdk.MatrixClient> {
  const client = sdk.createClient({
    baseUrl: kept.homeserver,
    userId: kept.user_id,
    deviceId: kept.device_id,
    accessToken: kept.access_token,
    logger: quiet,
    timelineSupport: true,
    verificationMethods: ["m.sas.v1"],
  });
  await client.whoami();
  await client.initRustCrypto({ cryptoDatabasePrefix: `surfaces/${kept.user_id}/${kept.device_id}` });
  const synced = new Promise<void>((resolve) => {
    client.on(sdk.ClientEvent.Sync, (state) => {
      if (state === sdk.SyncState.Prepared) resolve();
    });
  });
  await client.startClient({ initialSyncLimit: 40, threadSupport: false });
  await synced;
  await signDevice(client);
  return client;
}

/** A first device signs itself, so that strict clients share their keys with it. */
async function signDevice(client: sdk.MatrixClient): Promise<void> {
  const crypto = client.getCrypto();
  if (!crypto || (await crypto.userHasCrossSigningKeys(client.getSafeUserId(), true))) return;
  await crypto
    .bootstrapCrossSigning({ authUploadDeviceSigningKeys: async (request) => void (await request(null)) })
    .catch(() => undefined);
}
