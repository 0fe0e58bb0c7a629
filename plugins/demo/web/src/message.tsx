// One message as it shows.
import type { MatrixClient } from "matrix-js-sdk";
import { EventStatus } from "matrix-js-sdk";
import { EventShieldColour } from "matrix-js-sdk/lib/crypto-api/index.js";
import type { JSX } from "preact";
import { useEffect, useLayoutEffect, useRef, useState } from "preact/hooks";

import { addressOf, isShown, save, sizeOf } from "./files";
import { markFresh, plainHtml, roomOf, safeHtml } from "./html";
import { Icon } from "./icons";
import type { FileOfMessage, Message } from "./timeline";
import { locale, words } from "./words";

interface Props {
  client: MatrixClient;
  message: Message;
  /** Whether the same person said the message before. */
  goesOn: boolean;
  say: (text: string) => void;
  react: (message: Message, key: string) => void;
  select: (room: string) => void;
}

export function MessageRow(props: Props): JSX.Element {
  const { message, goesOn } = props;
  const kind = message.own ? "own" : message.notice ? "notice" : "said";
  return (
    <article class={`message ${kind}`} data-asks={message.answers !== null} data-event={message.id} data-goes-on={goesOn} aria-busy={message.writing}>
      {!goesOn && !message.own && (
        <header>
          <span class="avatar" aria-hidden="true">
            {(message.name.replace(/^@/, "")[0] ?? "?").toUpperCase()}
          </span>
          <span class="sender">{message.name}</span>
          <Time time={message.time} />
        </header>
      )}
      {message.quote && (
        <p class="quote">
          <b>{message.quote.name}</b> {message.quote.text}
        </p>
      )}
      <Body {...props} />
      {message.reactions.length > 0 && <Reactions {...props} />}
      {message.answers && !message.writing && <Answers answers={message.answers} say={props.say} />}
      <Foot {...props} />
    </article>
  );
}

function Body({ client, message, select }: Props) {
  if (message.redacted) return <p class="gone">{words.takenBack}</p>;
  if (message.undecryptable) {
    return (
      <p class="gone">
        <Icon name="lock" /> {words.waitingForKey}
      </p>
    );
  }
  if (message.file) return <Attachment client={client} file={message.file} />;
  return <Text message={message} select={select} />;
}

function Text({ message, select }: { message: Message; select: (room: string) => void }) {
  const place = useRef<HTMLDivElement>(null);
  const before = useRef<string | null>(null);

  useLayoutEffect(() => {
    const content = message.html === null ? plainHtml(message.text) : safeHtml(message.html);
    const text = content.textContent ?? "";
    const kept = before.current === null ? text.length : shared(before.current, text);
    before.current = text;
    markFresh(content, kept);
    place.current?.replaceChildren(content);
  }, [message.html, message.text]);

  async function click(event: MouseEvent): Promise<void> {
    const target = event.target as HTMLElement;
    const link = target.closest("a");
    const room = link ? roomOf(link) : null;
    if (room) {
      event.preventDefault();
      select(room);
    }
    target.closest(".spoiler")?.classList.add("shown");
    const button = target.closest(".copy");
    if (button) {
      await navigator.clipboard.writeText(button.closest(".code")?.querySelector("pre")?.textContent ?? "");
      button.textContent = words.copied;
      setTimeout(() => (button.textContent = words.copy), 1500);
    }
  }

  const classes = ["text", message.html === null && "plain-text", message.writing && "writing", message.emote && "emote"];
  return <div ref={place} class={classes.filter(Boolean).join(" ")} onClick={(event) => void click(event)} />;
}

/** How long the common beginning of two texts is. */
function shared(one: string, other: string): number {
  let length = 0;
  while (length < one.length && one[length] === other[length]) length += 1;
  return length;
}

function Attachment({ client, file }: { client: MatrixClient; file: FileOfMessage }) {
  const [address, setAddress] = useState<string | null>(null);
  const [problem, setProblem] = useState("");
  const shown = isShown(file);

  useEffect(() => {
    if (shown) addressOf(client, file).then(setAddress, () => setProblem(words.fileNotFetched));
  }, [client, file.url, shown]);

  function download(): void {
    save(client, file).catch(() => setProblem(words.fileNotFetched));
  }

  return (
    <div class="attachment">
      {shown && address && (
        <a href={address} target="_blank" rel="noopener" class="picture">
          <img src={address} alt={file.name} width={file.width ?? undefined} height={file.height ?? undefined} />
        </a>
      )}
      <button class="file" onClick={download} aria-label={words.save(file.name)}>
        <Icon name="file" />
        <span class="name">{file.name}</span>
        {file.size !== null && <span class="quiet">{sizeOf(file.size)}</span>}
        {file.sealed && <Icon name="lock" label={words.encrypted} />}
        <Icon name="save" />
      </button>
      {problem && <p class="problem">{problem}</p>}
    </div>
  );
}

function Answers({ answers, say }: { answers: NonNullable<Message["answers"]>; say: (text: string) => void }) {
  function answer(text: string): void {
    say(text);
    // The buttons are gone now; whoever uses the keyboard goes on writing.
    document.querySelector("textarea")?.focus();
  }

  return (
    <div class="answers" role="group" aria-label={words.answer}>
      <button class="primary" onClick={() => answer(answers.yes)}>
        {words.yes}
      </button>
      <button onClick={() => answer(answers.no)}>{words.no}</button>
    </div>
  );
}

function Reactions({ message, react }: Props) {
  return (
    <ul class="reactions" aria-label={words.reactions}>
      {message.reactions.map((reaction) => (
        <li key={reaction.key}>
          <button aria-pressed={reaction.own !== null} onClick={() => react(message, reaction.key)}>
            {reaction.key} {reaction.count > 1 && reaction.count}
          </button>
        </li>
      ))}
    </ul>
  );
}

const STATUS = {
  sending: ["clock", words.sending],
  sent: ["check", words.sent],
  read: ["checks", words.read],
  failed: ["warn", words.notSent],
} as const;

function Foot({ client, message, react }: Props) {
  if (message.own) {
    const [name, label] = STATUS[message.status];
    return (
      <footer>
        {message.edited && <span>{words.edited}</span>}
        <Time time={message.time} />
        <Icon name={name} label={label} />
        {message.event.status === EventStatus.NOT_SENT && (
          <button class="link" onClick={() => void client.resendEvent(message.event, client.getRoom(message.event.getRoomId())!)}>
            {words.sendAgain}
          </button>
        )}
      </footer>
    );
  }
  return (
    <footer>
      <Shield client={client} message={message} />
      <span class="react">
        {["👍", "👎"].map((key) => (
          <button key={key} class="link" aria-label={words.reactWith(key)} onClick={() => react(message, key)}>
            {key}
          </button>
        ))}
      </span>
    </footer>
  );
}

/** A warning where encryption says that the sender's device is not to be believed. */
function Shield({ client, message }: { client: MatrixClient; message: Message }) {
  const [red, setRed] = useState(false);
  useEffect(() => {
    if (!message.event.isEncrypted() || message.undecryptable) return;
    const info = client.getCrypto()?.getEncryptionInfoForEvent(message.event);
    void info?.then((known) => setRed(known?.shieldColour === EventShieldColour.RED));
  }, [client, message.id, message.undecryptable]);
  return red ? <Icon name="warn" label={words.unsigned} /> : null;
}

function Time({ time }: { time: number }) {
  const moment = new Date(time);
  return (
    <time dateTime={moment.toISOString()} title={moment.toLocaleString(locale)}>
      {moment.toLocaleTimeString(locale, { hour: "2-digit", minute: "2-digit" })}
    </time>
  );
}
