// One device of one account: logging in, syncing with encryption in memory, stopping.
import * as sdk from "matrix-js-sdk";
import { CryptoEvent } from "matrix-js-sdk/lib/crypto-api/index.js";
import { RustBackupManager } from "matrix-js-sdk/lib/rust-crypto/backup.js";

// Tests have no crowd of clients that would back up at the same moment.
RustBackupManager.maxBackupLoopStartDelayMillis = 0;

const quiet = {
  trace() {},
  debug() {},
  info() {},
  warn: (...words) => console.error("warn", ...words),
  error: (...words) => console.error("error", ...words),
  getChild: () => quiet,
};

export class Session {
  constructor(changed) {
    this.changed = changed;
    this.verifications = new Map();
    this.secretStorageKey = null;
  }

  // `device_id` names the device; the same name again is the same device without its keys.
  async login({ url, user, password, device_id, device_name }) {
    const answer = await sdk.createClient({ baseUrl: url, logger: quiet }).loginRequest({
      type: "m.login.password",
      identifier: { type: "m.id.user", user },
      password,
      device_id: device_id ?? undefined,
      initial_device_display_name: device_name,
    });
    this.password = password;
    this.client = sdk.createClient({
      baseUrl: url,
      userId: answer.user_id,
      deviceId: answer.device_id,
      accessToken: answer.access_token,
      logger: quiet,
      timelineSupport: true,
      verificationMethods: ["m.sas.v1"],
      cryptoCallbacks: { getSecretStorageKey: async ({ keys }) => this.#secretStorageKey(keys) },
    });
    return { user_id: answer.user_id, device_id: answer.device_id };
  }

  async start({ encryption }) {
    if (encryption) {
      await this.client.initRustCrypto({ useIndexedDB: false });
      this.client.on(CryptoEvent.VerificationRequestReceived, (request) => this.watch(request));
    }
    this.#tellChanges();
    const ready = new Promise((resolve) => this.client.on(sdk.ClientEvent.Sync, (state) => state === "PREPARED" && resolve()));
    // Threads stay in the one timeline of a room: what shows is told in the order it came.
    await this.client.startClient({ initialSyncLimit: 50, threadSupport: false, lazyLoadMembers: false });
    await ready;
  }

  async stop() {
    this.client.stopClient();
  }

  async logout() {
    await this.client.logout(true);
  }

  get crypto() {
    const crypto = this.client.getCrypto();
    if (!crypto) throw new Error("this client was started without encryption");
    return crypto;
  }

  room(roomId) {
    const room = this.client.getRoom(roomId);
    if (!room) throw new Error(`this client does not know the room ${roomId}`);
    return room;
  }

  // A verification under a name of our own: in a room it has no transaction id at first.
  watch(request) {
    for (const [name, known] of this.verifications) {
      if (known.request === request) return name;
    }
    const name = `v${this.verifications.size + 1}`;
    this.verifications.set(name, { request, sas: null, failure: null });
    request.on("change", () => this.changed());
    this.changed();
    return name;
  }

  #secretStorageKey(keys) {
    const [keyId] = Object.keys(keys);
    return this.secretStorageKey && keyId ? [keyId, this.secretStorageKey] : null;
  }

  #tellChanges() {
    const events = [
      sdk.ClientEvent.Sync,
      sdk.ClientEvent.Room,
      sdk.RoomEvent.Timeline,
      sdk.RoomEvent.Redaction,
      sdk.RoomEvent.Receipt,
      sdk.RoomEvent.LocalEchoUpdated,
      sdk.RoomEvent.MyMembership,
      sdk.RoomStateEvent.Events,
      sdk.RoomMemberEvent.Typing,
      sdk.MatrixEventEvent.Decrypted,
      sdk.MatrixEventEvent.Replaced,
      CryptoEvent.UserTrustStatusChanged,
      CryptoEvent.DevicesUpdated,
      CryptoEvent.KeysChanged,
      CryptoEvent.KeyBackupSessionsRemaining,
    ];
    for (const event of events) this.client.on(event, () => this.changed());
  }
}
