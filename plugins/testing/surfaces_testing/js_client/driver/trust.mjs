// Who is trusted: devices, cross-signing, secret storage and key backup.
import { AllDevicesIsolationMode, decodeRecoveryKey, OnlySignedDevicesIsolationMode } from "matrix-js-sdk/lib/crypto-api/index.js";

export async function devices(session, { user }) {
  const known = (await session.crypto.getUserDeviceInfo([user], true)).get(user) ?? new Map();
  return await Promise.all([...known.values()].map((device) => describe(session, device)));
}

async function describe(session, device) {
  const status = await session.crypto.getDeviceVerificationStatus(device.userId, device.deviceId);
  return {
    device_id: device.deviceId,
    name: device.displayName ?? null,
    fingerprint: device.getFingerprint() ?? null,
    identity_key: device.getIdentityKey() ?? null,
    signed_by_owner: status?.signedByOwner ?? false,
    verified: status?.isVerified() ?? false,
    cross_signing_verified: status?.crossSigningVerified ?? false,
    locally_verified: status?.localVerified ?? false,
  };
}

export async function user_trust(session, { user }) {
  const [status, keys] = [
    await session.crypto.getUserVerificationStatus(user),
    await session.crypto.userHasCrossSigningKeys(user, true),
  ];
  return {
    has_cross_signing_keys: keys,
    verified: status.isVerified(),
    cross_signing_verified: status.isCrossSigningVerified(),
    needs_approval: status.needsUserApproval,
  };
}

// The state of the own account's encryption.
export async function own_trust(session) {
  const crypto = session.crypto;
  const status = await crypto.getCrossSigningStatus();
  return {
    cross_signing_ready: await crypto.isCrossSigningReady(),
    secret_storage_ready: await crypto.isSecretStorageReady(),
    private_keys_cached: Object.values(status.privateKeysCachedLocally).every(Boolean),
    private_keys_in_secret_storage: status.privateKeysInSecretStorage,
    backup_version: await crypto.getActiveSessionBackupVersion(),
  };
}

export async function bootstrap_cross_signing(session, { reset }) {
  await session.crypto.bootstrapCrossSigning({
    setupNewCrossSigning: reset,
    authUploadDeviceSigningKeys: (request) => authorised(session, request),
  });
}

async function authorised(session, request) {
  try {
    return await request(null);
  } catch (error) {
    if (error.httpStatus !== 401) throw error;
    const user = session.client.getUserId();
    return await request({
      type: "m.login.password",
      identifier: { type: "m.id.user", user },
      password: session.password,
      session: error.data?.session,
    });
  }
}

// Makes secret storage with a key backup; the recovery key.
export async function bootstrap_secret_storage(session) {
  const key = await session.crypto.createRecoveryKeyFromPassphrase();
  session.secretStorageKey = key.privateKey;
  await session.crypto.bootstrapSecretStorage({
    createSecretStorageKey: async () => key,
    setupNewSecretStorage: true,
    setupNewKeyBackup: true,
  });
  return key.encodedPrivateKey;
}

// How many keys lie in the backup; asked from the homeserver, the library remembers its first answer.
export async function backed_up({ client }) {
  const version = await client.http.authedRequest("GET", "/room_keys/version", {}, undefined, { prefix: "/_matrix/client/v3" });
  return version.count;
}

// What a person does on a new device: the recovery key opens secret storage, which signs the device and opens the
// backup; how many keys came back.
export async function recover(session, { recovery_key }) {
  session.secretStorageKey = decodeRecoveryKey(recovery_key);
  // Private keys are taken in only where the public ones are known.
  await session.crypto.userHasCrossSigningKeys(session.client.getUserId(), true);
  await session.crypto.bootstrapCrossSigning({});
  await session.crypto.loadSessionBackupPrivateKeyFromSecretStorage();
  const restored = await session.crypto.restoreKeyBackup();
  await session.crypto.checkKeyBackupAndEnable();
  return { total: restored.total, imported: restored.imported };
}

export async function set_device_verified(session, { user, device }) {
  await session.crypto.setDeviceVerified(user, device, true);
}

// `signed_only` keeps messages from devices that their owner has not signed, as strict clients do.
export async function isolate(session, { signed_only }) {
  const mode = signed_only ? new OnlySignedDevicesIsolationMode() : new AllDevicesIsolationMode(false);
  session.crypto.setDeviceIsolationMode(mode);
}

// The next message in the room starts a new Megolm session.
export async function discard_session(session, { room }) {
  await session.crypto.forceDiscardSession(room);
}
