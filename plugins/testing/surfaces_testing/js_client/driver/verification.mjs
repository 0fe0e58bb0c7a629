// Verification by emoji, to a device or in a room.
import { VerificationPhase } from "matrix-js-sdk/lib/crypto-api/index.js";

// Asks a user in a room, a device of a user, or all other devices of the own account; the verification's name.
export async function request_verification(session, { user, device, room }) {
  const crypto = session.crypto;
  if (room) return session.watch(await crypto.requestVerificationDM(user, room));
  if (device) return session.watch(await crypto.requestDeviceVerification(user, device));
  return session.watch(await crypto.requestOwnUserVerification());
}

export async function verifications(session) {
  return [...session.verifications].map(([name, { request, sas, failure }]) => ({
    name,
    phase: VerificationPhase[request.phase].toLowerCase(),
    user: request.otherUserId,
    device: request.otherDeviceId ?? null,
    room: request.roomId ?? null,
    own: request.initiatedByMe,
    method: request.chosenMethod ?? null,
    emoji: sas?.sas.emoji?.map(([sign]) => sign) ?? null,
    decimal: sas?.sas.decimal ?? null,
    cancel_code: request.cancellationCode ?? null,
    failure,
  }));
}

export async function accept_verification(session, { name }) {
  await known(session, name).request.accept();
}

// Begins comparing, or takes part where the other side has begun.
export async function start_sas(session, { name }) {
  const entry = known(session, name);
  const verifier = entry.request.verifier ?? (await entry.request.startVerification("m.sas.v1"));
  const show = (sas) => {
    entry.sas = sas;
    session.changed();
  };
  verifier.on("show_sas", show);
  const early = verifier.getShowSasCallbacks();
  if (early) show(early);
  verifier.verify().catch((error) => {
    entry.failure = String(error?.message ?? error);
    session.changed();
  });
}

export async function confirm_sas(session, { name }) {
  await shown(session, name).confirm();
}

export async function mismatch_sas(session, { name }) {
  shown(session, name).mismatch();
}

export async function cancel_verification(session, { name }) {
  await known(session, name).request.cancel();
}

function known(session, name) {
  const entry = session.verifications.get(name);
  if (!entry) throw new Error(`no such verification: ${name}`);
  return entry;
}

function shown(session, name) {
  const { sas } = known(session, name);
  if (!sas) throw new Error("nothing to compare shows yet");
  return sas;
}
