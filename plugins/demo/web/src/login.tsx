// The way in: the account that the demo offers, or any other on this homeserver.
import type { MatrixClient } from "matrix-js-sdk";
import { MatrixError } from "matrix-js-sdk";
import type { JSX } from "preact";
import { useState } from "preact/hooks";

import { Mark } from "./icons";
import { type Config, logIn } from "./session";
import { words } from "./words";

interface Props {
  config: Config;
  done: (client: MatrixClient) => void;
  /** Why the person is here again. */
  before: string;
}

export function Login({ config, done, before }: Props): JSX.Element {
  const [busy, setBusy] = useState(false);
  const [problem, setProblem] = useState(before);

  async function enter(user: string, password: string): Promise<void> {
    setBusy(true);
    setProblem("");
    try {
      done(await logIn(config, user, password));
    } catch (error) {
      setProblem(explain(error));
      setBusy(false);
    }
  }

  return (
    <main class="login">
      <div class="card">
        <Mark />
        <h1>{words.loginTitle}</h1>
        <p class="quiet">{words.loginLead}</p>
        {config.offer && <Offer offer={config.offer} busy={busy} enter={enter} />}
        <Form busy={busy} enter={enter} open={!config.offer} />
        <p class="problem" role="alert">
          {problem}
        </p>
      </div>
    </main>
  );
}

type Enter = (user: string, password: string) => Promise<void>;

function Offer({ offer, busy, enter }: { offer: NonNullable<Config["offer"]>; busy: boolean; enter: Enter }) {
  const name = offer.user_id.slice(1).split(":")[0];
  return (
    <button class="primary wide" disabled={busy} onClick={() => void enter(offer.user_id, offer.password)}>
      {busy ? words.oneMoment : words.enterAs(name ?? "")}
    </button>
  );
}

function Form({ busy, enter, open }: { busy: boolean; enter: Enter; open: boolean }) {
  function submit(event: SubmitEvent): void {
    event.preventDefault();
    const fields = new FormData(event.currentTarget as HTMLFormElement);
    void enter(String(fields.get("user")), String(fields.get("password")));
  }

  return (
    <details open={open}>
      <summary>{words.anotherAccount}</summary>
      <form onSubmit={submit}>
        <label>
          {words.name}
          <input name="user" autocomplete="username" autocapitalize="none" spellcheck={false} required />
        </label>
        <label>
          {words.password}
          <input name="password" type="password" autocomplete="current-password" required />
        </label>
        <button class="wide" disabled={busy}>
          {busy && open ? words.oneMoment : words.logIn}
        </button>
      </form>
    </details>
  );
}

function explain(error: unknown): string {
  if (!(error instanceof MatrixError)) return words.unreachable;
  if (error.errcode === "M_FORBIDDEN") return words.wrongPassword;
  return error.errcode === "M_LIMIT_EXCEEDED" ? words.tooManyTries : words.refused;
}
