// The way in: the account that the demo offers, or any other on this homeserver.
import type { MatrixClient } from "matrix-js-sdk";
import { MatrixError } from "matrix-js-sdk";
import type { JSX } from "preact";
import { useState } from "preact/hooks";

import { Mark } from "./icons";
import { type Config, logIn } from "./session";

export function Login({ config, done }: { config: Config; done: (client: MatrixClient) => void }): JSX.Element {
  const [busy, setBusy] = useState(false);
  const [problem, setProblem] = useState("");

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
        <h1>Talk to your agent</h1>
        <p class="quiet">Your conversations live on the homeserver of this machine and open in any Matrix client.</p>
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
      {busy ? "One moment…" : `Enter as ${name}`}
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
      <summary>Another account</summary>
      <form onSubmit={submit}>
        <label>
          Name
          <input name="user" autocomplete="username" autocapitalize="none" spellcheck={false} required />
        </label>
        <label>
          Password
          <input name="password" type="password" autocomplete="current-password" required />
        </label>
        <button class="wide" disabled={busy}>
          Log in
        </button>
      </form>
    </details>
  );
}

function explain(error: unknown): string {
  if (error instanceof MatrixError && error.errcode === "M_FORBIDDEN") return "Name or password is wrong.";
  if (error instanceof MatrixError) return error.data.error ?? "The homeserver refused.";
  return "The homeserver does not answer.";
}
