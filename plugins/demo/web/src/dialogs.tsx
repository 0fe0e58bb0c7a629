// What opens over the page: finding a room, and comparing emoji with another device.
import type { MatrixClient } from "matrix-js-sdk";
import {
  CryptoEvent,
  type ShowSasCallbacks,
  VerificationPhase,
  type VerificationRequest,
  VerificationRequestEvent,
  type Verifier,
  VerifierEvent,
} from "matrix-js-sdk/lib/crypto-api/index.js";
import type { ComponentChildren, JSX } from "preact";
import { useEffect, useRef, useState } from "preact/hooks";

import type { Group } from "./rooms";
import { words } from "./words";

interface DialogProps {
  label: string;
  close: () => void;
  /** Whether the page behind it stays in use. */
  beside?: boolean;
  children: ComponentChildren;
}

function Dialog({ label, close, beside, children }: DialogProps) {
  const place = useRef<HTMLDialogElement>(null);
  useEffect(() => {
    if (beside) place.current?.show();
    else place.current?.showModal();
  }, []);
  return (
    <dialog
      ref={place}
      aria-label={label}
      onClose={close}
      // What lies inside the frame is not the dialog itself: this is a click beside it.
      onClick={(event) => event.target === event.currentTarget && event.currentTarget.close()}
    >
      <div class="dialog">{children}</div>
    </dialog>
  );
}

interface SwitcherProps {
  groups: Group[];
  select: (room: string) => void;
  close: () => void;
}

export function Switcher({ groups, select, close }: SwitcherProps): JSX.Element {
  const [wanted, setWanted] = useState("");
  const [index, setIndex] = useState(0);
  const rooms = groups.flatMap((group) => group.rooms.map((room) => ({ ...room, group: group.title })));
  const found = rooms.filter((room) => room.name.toLowerCase().includes(wanted.toLowerCase()));
  const at = Math.min(index, found.length - 1);

  function take(room: string | undefined): void {
    if (room) select(room);
    close();
  }

  function key(event: KeyboardEvent): void {
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (step && found.length) {
      event.preventDefault();
      setIndex((at + step + found.length) % found.length);
    } else if (event.key === "Enter") {
      event.preventDefault();
      take(found[at]?.id);
    }
  }

  return (
    <Dialog label={words.findRoom} close={close}>
      <input
        role="combobox"
        aria-expanded="true"
        aria-controls="found"
        aria-activedescendant={found[at] ? `found-${at}` : undefined}
        aria-label={words.roomName}
        placeholder={words.goTo}
        value={wanted}
        onInput={(event) => (setWanted(event.currentTarget.value), setIndex(0))}
        onKeyDown={key}
      />
      <ul id="found" role="listbox" aria-label={words.rooms}>
        {found.map((room, number) => (
          <li key={room.id} id={`found-${number}`} role="option" aria-selected={number === at} onClick={() => take(room.id)}>
            <span class="name">{room.name}</span> <span class="quiet">{room.group}</span>
          </li>
        ))}
        {!found.length && <li class="quiet">{words.noRoom}</li>}
      </ul>
    </Dialog>
  );
}

/** Shows a verification that somebody asks for, until it is over. */
export function Verifications({ client }: { client: MatrixClient }): JSX.Element | null {
  const [request, setRequest] = useState<VerificationRequest | null>(null);
  useEffect(() => {
    const asked = (incoming: VerificationRequest) => {
      if (!isAnswered(client, incoming)) setRequest(incoming);
    };
    client.on(CryptoEvent.VerificationRequestReceived, asked);
    return () => void client.off(CryptoEvent.VerificationRequestReceived, asked);
  }, [client]);
  return request && <Verification key={request.transactionId} request={request} close={() => setRequest(null)} />;
}

/** Whether the person has dealt with a request before: after a reload the room's history tells of it again. */
function isAnswered(client: MatrixClient, request: VerificationRequest): boolean {
  const events = (request.roomId && client.getRoom(request.roomId)?.getLiveTimeline().getEvents()) || [];
  return events.some(
    (event) =>
      event.getSender() === client.getUserId() &&
      event.getWireContent()["m.relates_to"]?.event_id === request.transactionId,
  );
}

function Verification({ request, close }: { request: VerificationRequest; close: () => void }) {
  const [phase, setPhase] = useState(request.phase);
  const [sas, setSas] = useState<ShowSasCallbacks | null>(null);
  const [confirmed, setConfirmed] = useState(false);
  const following = useRef<Verifier | null>(null);

  function follow(verifier: Verifier): void {
    if (following.current === verifier) return;
    following.current = verifier;
    verifier.on(VerifierEvent.ShowSas, setSas);
    setSas(verifier.getShowSasCallbacks());
    verifier.verify().catch(() => undefined);
  }

  useEffect(() => {
    const look = () => {
      setPhase(request.phase);
      if (request.verifier) follow(request.verifier);
    };
    request.on(VerificationRequestEvent.Change, look);
    look();
    return () => void request.off(VerificationRequestEvent.Change, look);
  }, [request]);

  async function accept(): Promise<void> {
    await request.accept();
  }

  async function begin(): Promise<void> {
    if (!request.verifier) follow(await request.startVerification("m.sas.v1"));
  }

  function leave(): void {
    if (request.pending) void request.cancel().catch(() => undefined);
    close();
  }

  // A bot is answered in the conversation behind it.
  return (
    <Dialog label={words.verification} close={leave} beside>
      <h2>{words.compareWith(request.otherUserId)}</h2>
      {phase === VerificationPhase.Requested && (
        <Choice text={words.asksToVerify} yes={words.begin} no={words.notNow} onYes={accept} onNo={leave} />
      )}
      {phase === VerificationPhase.Ready && (
        <Choice text={words.readyToCompare} yes={words.showThem} no={words.notNow} onYes={begin} onNo={leave} />
      )}
      {phase === VerificationPhase.Started && !sas && <p class="quiet">{words.waitingForOther}</p>}
      {phase === VerificationPhase.Started && sas && (
        <>
          <ul class="emoji">
            {sas.sas.emoji?.map(([sign, name]) => (
              <li key={name}>
                <span aria-hidden="true">{sign}</span>
                {name}
              </li>
            ))}
          </ul>
          {confirmed ? (
            <p class="quiet">{words.waitingForOther}</p>
          ) : (
            <Choice
              text={words.same}
              yes={words.theyAreSame}
              no={words.theyDiffer}
              onYes={async () => (setConfirmed(true), await sas.confirm())}
              onNo={() => sas.mismatch()}
            />
          )}
        </>
      )}
      {phase === VerificationPhase.Done && <Choice text={words.verified} yes={words.good} onYes={close} />}
      {phase === VerificationPhase.Cancelled && <Choice text={words.brokenOff} yes={words.close} onYes={close} />}
    </Dialog>
  );
}

interface ChoiceProps {
  text: string;
  yes: string;
  no?: string;
  onYes: () => unknown;
  onNo?: () => unknown;
}

function Choice({ text, yes, no, onYes, onNo }: ChoiceProps) {
  return (
    <>
      <p>{text}</p>
      <div class="answers">
        <button class="primary" onClick={() => void onYes()}>
          {yes}
        </button>
        {no && <button onClick={() => void onNo?.()}>{no}</button>}
      </div>
    </>
  );
}
