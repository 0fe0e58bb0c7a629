// What shows in a room: its messages as values, each as it is now.
import * as sdk from "matrix-js-sdk";

import { isSaid } from "./rooms";

/** Ends an answer that is still being written. */
const UNFINISHED = "…";
/** Ends in how to answer: `!yes` or `!no`, or a command with either, such as `!verify yes`. */
const QUESTION = /([^\w\s](?:\w+ )?)yes\b[^\n]*\1no\b[^\n]*$/;
const ANSWER = /^\W(?:\w+ )?(?:yes|no)$/;

export interface FileOfMessage {
  name: string;
  url: string;
  mime: string;
  size: number | null;
  width: number | null;
  height: number | null;
  sealed: Record<string, unknown> | null;
}

export interface Reaction {
  key: string;
  count: number;
  /** The person's own, to take it back. */
  own: string | null;
}

export interface Message {
  key: string;
  id: string;
  sender: string;
  name: string;
  own: boolean;
  notice: boolean;
  emote: boolean;
  time: number;
  text: string;
  html: string | null;
  file: FileOfMessage | null;
  writing: boolean;
  edited: boolean;
  redacted: boolean;
  undecryptable: boolean;
  status: "sending" | "failed" | "sent" | "read";
  reactions: Reaction[];
  quote: { name: string; text: string } | null;
  /** How to answer the question that the message ends with; null where there is none or it is answered. */
  answers: { yes: string; no: string } | null;
  event: sdk.MatrixEvent;
}

export function messages(client: sdk.MatrixClient, room: sdk.Room): Message[] {
  const events = room.getLiveTimeline().getEvents();
  const reactions = gatherReactions(room, events);
  const own = events.filter((event) => event.getSender() === room.myUserId);
  const lastAnswer = own.findLast((event) => ANSWER.test(String(event.getContent().body ?? "").trim()));
  return events.filter((event) => isSaid(event)).map((event) => view(client, room, event, reactions, lastAnswer?.getTs() ?? 0));
}

function gatherReactions(room: sdk.Room, events: sdk.MatrixEvent[]): Map<string, Reaction[]> {
  const found = new Map<string, Reaction[]>();
  for (const event of events) {
    const relation = event.getRelation();
    if (relation?.rel_type !== "m.annotation" || event.isRedacted() || !relation.event_id || !relation.key) continue;
    const known = found.get(relation.event_id) ?? [];
    const same = known.find((reaction) => reaction.key === relation.key);
    const mine = event.getSender() === room.myUserId ? (event.getId() ?? null) : null;
    if (same) Object.assign(same, { count: same.count + 1, own: mine ?? same.own });
    else known.push({ key: relation.key, count: 1, own: mine });
    found.set(relation.event_id, known);
  }
  return found;
}

function view(
  client: sdk.MatrixClient,
  room: sdk.Room,
  event: sdk.MatrixEvent,
  reactions: Map<string, Reaction[]>,
  answeredAt: number,
): Message {
  const content = event.getContent();
  const own = event.getSender() === client.getUserId();
  const text = String(content.body ?? "");
  const file = fileOf(content);
  const mine = reactions.get(event.getId() ?? "") ?? [];
  const open = !own && event.getTs() > answeredAt && !mine.some((reaction) => reaction.own);
  return {
    // The same before and after the homeserver gave it an id, so that it stays in its place.
    key: event.getTxnId() ?? event.getUnsigned().transaction_id ?? event.getId() ?? "",
    id: event.getId() ?? "",
    sender: event.getSender() ?? "",
    name: event.sender?.name ?? event.getSender() ?? "",
    own,
    notice: content.msgtype === "m.notice",
    emote: content.msgtype === "m.emote",
    time: event.getTs(),
    text,
    html: content.format === "org.matrix.custom.html" ? String(content.formatted_body ?? "") : null,
    file,
    writing: !own && !file && text.endsWith(UNFINISHED),
    edited: own && event.replacingEvent() !== null,
    redacted: event.isRedacted(),
    undecryptable: event.isDecryptionFailure() || event.isBeingDecrypted(),
    status: status(room, event),
    reactions: mine,
    quote: quote(room, event),
    answers: open ? answersTo(text) : null,
    event,
  };
}

export function answersTo(text: string): { yes: string; no: string } | null {
  const match = QUESTION.exec(text.trimEnd().replaceAll("`", ""));
  return match ? { yes: `${match[1]}yes`, no: `${match[1]}no` } : null;
}

function status(room: sdk.Room, event: sdk.MatrixEvent): Message["status"] {
  if (event.status === sdk.EventStatus.NOT_SENT) return "failed";
  if (event.status !== null && event.status !== sdk.EventStatus.SENT) return "sending";
  const others = room.getJoinedMembers().filter((member) => member.userId !== room.myUserId);
  return others.some((member) => room.hasUserReadEvent(member.userId, event.getId() ?? "")) ? "read" : "sent";
}

function quote(room: sdk.Room, event: sdk.MatrixEvent): Message["quote"] {
  const relation = event.getWireContent()["m.relates_to"];
  const about = relation?.is_falling_back ? null : relation?.["m.in_reply_to"]?.event_id;
  const answered = about ? room.findEventById(about) : undefined;
  if (!answered) return null;
  return { name: answered.sender?.name ?? "", text: String(answered.getContent().body ?? "") };
}

function fileOf(content: sdk.IContent): FileOfMessage | null {
  const sealed = (content.file ?? null) as Record<string, unknown> | null;
  const url = sealed ? sealed.url : content.url;
  if (typeof url !== "string") return null;
  const info = (content.info ?? {}) as Record<string, unknown>;
  const number = (value: unknown) => (typeof value === "number" ? value : null);
  return {
    name: String(content.filename ?? content.body ?? "file"),
    url,
    mime: typeof info.mimetype === "string" ? info.mimetype : "application/octet-stream",
    size: number(info.size),
    width: number(info.w),
    height: number(info.h),
    sealed,
  };
}
