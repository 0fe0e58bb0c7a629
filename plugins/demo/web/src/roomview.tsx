// One room: its head, its messages, and where the person writes.
import type { MatrixClient, MatrixEvent, Room } from "matrix-js-sdk";
import { ReceiptType, RelationType } from "matrix-js-sdk";
import type { RoomMessageEventContent } from "matrix-js-sdk/lib/types.js";
import type { JSX } from "preact";
import { useEffect, useLayoutEffect, useMemo, useRef, useState } from "preact/hooks";

import { Composer } from "./composer";
import { Icon, Mark } from "./icons";
import { MessageRow } from "./message";
import { writers } from "./rooms";
import { type Message, messages } from "./timeline";
import { locale, words } from "./words";

const NOTHING: File[] = [];

interface Props {
  client: MatrixClient;
  room: Room;
  changes: number;
  openMenu: () => void;
  select: (room: string) => void;
}

export function RoomView({ client, room, changes, openMenu, select }: Props): JSX.Element {
  const shown = useMemo(() => messages(client, room), [client, room, changes]);
  const [dropped, setDropped] = useState(NOTHING);
  const [over, setOver] = useState(false);
  useReadMarks(client, room, changes);

  function say(text: string): void {
    void client.sendTextMessage(room.roomId, text).catch(() => undefined);
  }

  function edit(message: Message, text: string): void {
    const content = { msgtype: "m.text", body: text };
    void client
      .sendMessage(room.roomId, {
        ...content,
        body: `* ${text}`,
        "m.new_content": content,
        "m.relates_to": { rel_type: RelationType.Replace, event_id: message.id },
      } as RoomMessageEventContent)
      .catch(() => undefined);
  }

  function react(message: Message, key: string): void {
    const own = message.reactions.find((reaction) => reaction.key === key)?.own;
    const relation = { rel_type: RelationType.Annotation, event_id: message.id, key } as const;
    const done = own
      ? client.redactEvent(room.roomId, own)
      : client.sendEvent(room.roomId, "m.reaction" as never, { "m.relates_to": relation } as never);
    void done.catch(() => undefined);
  }

  function drop(event: DragEvent): void {
    event.preventDefault();
    setOver(false);
    setDropped([...(event.dataTransfer?.files ?? [])]);
  }

  return (
    <main
      class="room"
      data-over={over}
      data-drop={words.dropToSend}
      onDragOver={(event) => (event.preventDefault(), setOver(true))}
      onDragLeave={(event) => event.currentTarget === event.target && setOver(false)}
      onDrop={drop}
    >
      <Head room={room} openMenu={openMenu} />
      <Timeline client={client} room={room} shown={shown} say={say} react={react} select={select} />
      <Composer
        key={room.roomId}
        client={client}
        room={room}
        say={say}
        edit={edit}
        last={shown.findLast((message) => message.own && !message.redacted && !message.file)}
        dropped={dropped}
        taken={() => setDropped(NOTHING)}
      />
    </main>
  );
}

function Head({ room, openMenu }: { room: Room; openMenu: () => void }) {
  return (
    <header class="head">
      <button class="plain menu" aria-label={words.conversations} onClick={openMenu}>
        <Icon name="menu" />
      </button>
      <h1>{room.name}</h1>
      {room.hasEncryptionStateEvent() && (
        <span class="encrypted" title={words.encryptedTitle}>
          <Icon name="lock" /> {words.encrypted}
        </span>
      )}
    </header>
  );
}

interface TimelineProps {
  client: MatrixClient;
  room: Room;
  shown: Message[];
  say: (text: string) => void;
  react: (message: Message, key: string) => void;
  select: (room: string) => void;
}

function Timeline({ client, room, shown, say, react, select }: TimelineProps) {
  const place = useRef<HTMLDivElement>(null);
  const { atEnd, toEnd, scrolled } = useEnd(place, room.roomId, shown);
  // Who has asked waits, whatever the room says.
  const writing = shown.at(-1)?.answers ? [] : writers(room);

  async function scroll(): Promise<void> {
    scrolled();
    const element = place.current;
    if (element && element.scrollTop < 200) await loadEarlier(client, room, element);
  }

  return (
    <div class="timeline-frame">
      <div ref={place} class="timeline" tabIndex={0} role="log" aria-live="off" aria-label={words.messages} onScroll={() => void scroll()}>
        <div class="lines">
          {!shown.length && (
            <p class="empty">
              <Mark />
              {words.nothingYet}
            </p>
          )}
          {shown.map((message, index) => {
            const before = shown[index - 1];
            return (
              <>
                {isNewDay(before, message) && <Day key={`day ${message.key}`} time={message.time} />}
                <MessageRow
                  key={message.key}
                  client={client}
                  message={message}
                  goesOn={goesOn(before, message)}
                  say={say}
                  react={react}
                  select={select}
                />
              </>
            );
          })}
          <p class="typing" aria-hidden={!writing.length} data-shown={writing.length > 0}>
            <span class="dots" /> {words.isWriting(writing.join(", "))}
          </p>
        </div>
      </div>
      {!atEnd && (
        <button class="to-end" onClick={toEnd} aria-label={words.toLatest} title={words.toLatest}>
          <Icon name="down" />
        </button>
      )}
      <Announcer shown={shown} />
    </div>
  );
}

/** Tells screen readers each message of others once, when it is whole. */
function Announcer({ shown }: { shown: Message[] }) {
  const last = shown.findLast((message) => !message.own && !message.writing && !message.redacted);
  return (
    <p class="aside" role="status" aria-live="polite">
      {last && `${last.name}: ${last.file ? last.file.name : last.text}`}
    </p>
  );
}

function Day({ time }: { time: number }) {
  const options = { weekday: "long", day: "numeric", month: "long" } as const;
  return <p class="day">{new Date(time).toLocaleDateString(locale, options)}</p>;
}

function isNewDay(before: Message | undefined, message: Message): boolean {
  return !before || new Date(before.time).toDateString() !== new Date(message.time).toDateString();
}

function goesOn(before: Message | undefined, message: Message): boolean {
  if (!before || isNewDay(before, message)) return false;
  return before.sender === message.sender && message.time - before.time < 300_000;
}

/** Keeps to the end of the timeline, unless the person has scrolled away from it. */
function useEnd(place: { current: HTMLDivElement | null }, room: string, shown: Message[]) {
  const [atEnd, setAtEnd] = useState(true);
  const follows = useRef(true);
  const top = useRef(0);
  const toEnd = () => place.current?.scrollTo({ top: place.current.scrollHeight });

  useLayoutEffect(() => {
    follows.current = true;
    setAtEnd(true);
  }, [room]);
  useLayoutEffect(() => {
    if (follows.current || shown.at(-1)?.status === "sending") toEnd();
  }, [shown, room]);
  useEffect(() => {
    // Pictures and fonts that come later move the end.
    const watcher = new ResizeObserver(() => follows.current && toEnd());
    const lines = place.current?.firstElementChild;
    if (lines) watcher.observe(lines);
    if (place.current) watcher.observe(place.current);
    return () => watcher.disconnect();
  }, []);

  function scrolled(): void {
    const element = place.current;
    if (!element) return;
    const near = element.scrollHeight - element.scrollTop - element.clientHeight < 80;
    // A picture that comes late moves the end away; only who scrolls up leaves it.
    if (near || element.scrollTop < top.current) follows.current = near;
    top.current = element.scrollTop;
    setAtEnd(near || follows.current);
  }

  return { atEnd, toEnd, scrolled };
}

const loading = new WeakSet<Room>();

async function loadEarlier(client: MatrixClient, room: Room, element: HTMLElement): Promise<void> {
  if (loading.has(room) || room.oldState.paginationToken === null) return;
  loading.add(room);
  const fromEnd = element.scrollHeight - element.scrollTop;
  try {
    await client.scrollback(room, 40);
    // What comes in above must not move what is being read.
    requestAnimationFrame(() => (element.scrollTop = element.scrollHeight - fromEnd));
  } finally {
    loading.delete(room);
  }
}

/** Marks the room as read while it is looked at. */
function useReadMarks(client: MatrixClient, room: Room, changes: number): void {
  const marked = useRef<MatrixEvent | null>(null);
  useEffect(() => {
    const mark = () => {
      const last = room.getLiveTimeline().getEvents().findLast((event) => event.status === null);
      if (document.visibilityState !== "visible" || !last || marked.current === last) return;
      marked.current = last;
      client.sendReadReceipt(last, ReceiptType.Read).catch(() => undefined);
    };
    mark();
    document.addEventListener("visibilitychange", mark);
    return () => document.removeEventListener("visibilitychange", mark);
  }, [client, room, changes]);
}
