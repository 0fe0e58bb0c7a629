// Where the person writes: text, files by button, paste and drop, and edits of what they said last.
import type { MatrixClient, Room } from "matrix-js-sdk";
import type { JSX } from "preact";
import { useEffect, useLayoutEffect, useRef, useState } from "preact/hooks";

import { sendFile } from "./files";
import { Icon } from "./icons";
import type { Message } from "./timeline";
import { words } from "./words";

/** What was begun in each room and not sent. */
const unsent = new Map<string, string>();

interface Upload {
  name: string;
  part: number;
  problem: string;
}

export interface ComposerProps {
  client: MatrixClient;
  room: Room;
  say: (text: string) => void;
  edit: (message: Message, text: string) => void;
  /** What ArrowUp edits. */
  last: Message | undefined;
  /** Files that were dropped on the room. */
  dropped: File[];
  taken: () => void;
}

export function Composer(props: ComposerProps): JSX.Element {
  const { client, room } = props;
  const [text, setText] = useState(unsent.get(room.roomId) ?? "");
  const [edited, setEdited] = useState<Message | null>(null);
  const [uploads, setUploads] = useState<Upload[]>([]);
  const field = useRef<HTMLTextAreaElement>(null);
  const picker = useRef<HTMLInputElement>(null);
  useHeight(field, text);
  useEffect(() => {
    // On a phone this would open the keyboard over the room.
    if (matchMedia("(pointer: fine)").matches) field.current?.focus();
  }, []);
  useEffect(() => {
    send(props.dropped);
    // Taken once: the next room must not find them again.
    if (props.dropped.length) props.taken();
  }, [props.dropped]);

  function change(value: string): void {
    setText(value);
    if (!edited) unsent.set(room.roomId, value);
    tellTyping(client, room, value !== "" && !/^\W\w*$/.test(value));
  }

  function submit(): void {
    if (!text.trim()) return;
    if (edited) props.edit(edited, text);
    else props.say(text);
    stop();
  }

  function stop(): void {
    setEdited(null);
    change("");
    unsent.delete(room.roomId);
  }

  function send(files: Iterable<File>): void {
    for (const file of files) void sendOne(file);
  }

  async function sendOne(file: File): Promise<void> {
    const upload: Upload = { name: file.name, part: 0, problem: "" };
    const tell = (more: Partial<Upload>) => {
      Object.assign(upload, more);
      setUploads((all) => [...all]);
    };
    setUploads((all) => [...all, upload]);
    try {
      await sendFile(client, room, file, (part) => tell({ part }));
      setUploads((all) => all.filter((other) => other !== upload));
    } catch {
      tell({ problem: words.fileNotSent });
    }
  }

  function key(event: KeyboardEvent): void {
    if (event.isComposing) return;
    if (event.key === "Enter" && !event.shiftKey) {
      event.preventDefault();
      submit();
    } else if (event.key === "ArrowUp" && text === "" && props.last) {
      event.preventDefault();
      setEdited(props.last);
      setText(props.last.text);
    } else if (event.key === "Escape" && edited) {
      event.stopPropagation();
      stop();
    }
  }

  function paste(event: ClipboardEvent): void {
    const files = [...(event.clipboardData?.files ?? [])];
    if (!files.length) return;
    event.preventDefault();
    send(files);
  }

  return (
    <form class="composer" onSubmit={(event) => (event.preventDefault(), submit())}>
      {uploads.map((upload) => (
        <Progress key={upload.name} upload={upload} close={() => setUploads((all) => all.filter((other) => other !== upload))} />
      ))}
      {edited && (
        <p class="hint">
          {words.editing} <kbd>Esc</kbd> {words.leavesIt}
        </p>
      )}
      <div class="line">
        <input
          ref={picker}
          type="file"
          multiple
          hidden
          onChange={(event) => (send([...(event.currentTarget.files ?? [])]), (event.currentTarget.value = ""))}
        />
        <button type="button" class="plain" aria-label={words.sendFile} title={words.sendFile} onClick={() => picker.current?.click()}>
          <Icon name="clip" />
        </button>
        <textarea
          ref={field}
          rows={1}
          value={text}
          aria-label={words.messageTo(room.name)}
          placeholder={words.writeMessage}
          onInput={(event) => change(event.currentTarget.value)}
          onKeyDown={key}
          onPaste={paste}
        />
        <button class="primary send" aria-label={words.send} title={words.send} disabled={!text.trim()}>
          <Icon name="send" />
        </button>
      </div>
    </form>
  );
}

function Progress({ upload, close }: { upload: Upload; close: () => void }) {
  return (
    <p class="upload">
      <span class="name">{upload.name}</span>
      {upload.problem ? (
        <>
          <span class="problem">{upload.problem}</span>
          <button type="button" class="plain" aria-label={words.close} onClick={close}>
            <Icon name="close" />
          </button>
        </>
      ) : (
        <progress max={1} value={upload.part} aria-label={words.sendingFile(upload.name)} />
      )}
    </p>
  );
}

/** The field is as high as its text, up to what the style allows. */
function useHeight(field: { current: HTMLTextAreaElement | null }, text: string): void {
  useLayoutEffect(() => {
    const element = field.current;
    if (!element) return;
    element.style.height = "auto";
    element.style.height = `${element.scrollHeight}px`;
  }, [text]);
}

const TYPING_MS = 20_000;
let toldAt = 0;

function tellTyping(client: MatrixClient, room: Room, typing: boolean): void {
  const now = Date.now();
  // Said again only when it would run out.
  if (typing ? now - toldAt < TYPING_MS / 2 : toldAt === 0) return;
  toldAt = typing ? now : 0;
  client.sendTyping(room.roomId, typing, TYPING_MS).catch(() => undefined);
}
