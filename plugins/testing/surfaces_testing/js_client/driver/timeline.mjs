// What shows in a room: each message once, as it is now, with what encryption says of its sender.
import { EventShieldColour, EventShieldReason } from "matrix-js-sdk/lib/crypto-api/index.js";

const SHIELDS = { [EventShieldColour.NONE]: "none", [EventShieldColour.GREY]: "grey", [EventShieldColour.RED]: "red" };
const MAIN_TAG = "io.surfaces.id";

export async function timeline(session, { room }) {
  const events = session.room(room).getLiveTimeline().getEvents();
  const related = gather(events);
  const shown = events.filter((event) => !isAside(event));
  return await Promise.all(shown.map((event) => view(session, event, related)));
}

// Reads further back; whether there is more.
export async function paginate(session, { room, limit }) {
  return await session.client.paginateEventTimeline(session.room(room).getLiveTimeline(), { backwards: true, limit });
}

export async function readers(session, { room, event }) {
  const known = session.room(room);
  return known.getUsersReadUpTo(known.findEventById(event));
}

// Edits and reactions show at what they are about, not for themselves; a local echo is not sent yet.
function isAside(event) {
  const kind = event.getRelation()?.rel_type;
  return event.isState() || event.isRedaction() || event.status !== null || kind === "m.replace" || kind === "m.annotation";
}

function gather(events) {
  const edits = new Map();
  const reactions = new Map();
  for (const event of events) {
    const relation = event.getRelation();
    if (!relation || event.isRedacted() || event.status !== null) continue;
    if (relation.rel_type === "m.replace") append(edits, relation.event_id, event);
    if (relation.rel_type === "m.annotation") append(reactions, relation.event_id, event);
  }
  return { edits, reactions };
}

function append(map, key, value) {
  map.set(key, [...(map.get(key) ?? []), value]);
}

async function view(session, event, { edits, reactions }) {
  const content = event.getContent();
  const file = content.file ?? (content.url ? { url: content.url } : null);
  // A relation stands outside what is encrypted (Matrix client-server API, "Relationships and encryption").
  const relation = event.getWireContent()["m.relates_to"] ?? content["m.relates_to"] ?? {};
  return {
    event_id: event.getId(),
    sender: event.getSender(),
    type: event.getType(),
    msgtype: content.msgtype ?? null,
    body: content.body ?? null,
    formatted_body: content.formatted_body ?? null,
    content,
    redacted: event.isRedacted(),
    encrypted: event.isEncrypted(),
    undecryptable: event.isDecryptionFailure() ? String(event.decryptionFailureReason) : null,
    versions: versions(event, edits.get(event.getId()) ?? []),
    reactions: (reactions.get(event.getId()) ?? []).map((reaction) => ({
      event_id: reaction.getId(),
      key: reaction.getRelation().key,
      sender: reaction.getSender(),
    })),
    reply_to: relation["m.in_reply_to"]?.event_id ?? null,
    thread: relation.rel_type === "m.thread" ? relation.event_id : null,
    file: file !== null,
    mark: event.getOriginalContent()[MAIN_TAG] ?? null,
    ...(await shield(session, event)),
  };
}

function versions(event, edits) {
  const own = edits.filter((edit) => edit.getSender() === event.getSender());
  const texts = own.map((edit) => edit.getOriginalContent()["m.new_content"]?.body ?? "");
  return [event.getOriginalContent().body ?? "", ...texts];
}

// The sign that a client shows beside an encrypted message.
async function shield({ client }, event) {
  const info = event.isEncrypted() ? await client.getCrypto()?.getEncryptionInfoForEvent(event) : null;
  if (!info) return { shield: null, shield_reason: null };
  const reason = info.shieldReason === null ? null : EventShieldReason[info.shieldReason];
  return { shield: SHIELDS[info.shieldColour], shield_reason: reason };
}
