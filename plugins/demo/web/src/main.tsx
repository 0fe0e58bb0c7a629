// The page: who is logged in, which room shows, what is open over it.
import type { MatrixClient, Room } from "matrix-js-sdk";
import { render } from "preact";
import { useEffect, useMemo, useState } from "preact/hooks";

import { useChanges } from "./changes";
import { isOffline, sendAgainWhenBack } from "./connection";
import { Switcher, Verifications } from "./dialogs";
import { Mark } from "./icons";
import { Login } from "./login";
import { RoomView } from "./roomview";
import { type Group, groups, invitations, unread } from "./rooms";
import { type Config, fetchConfig, logOut, onLoggedOut, restore } from "./session";
import { Sidebar } from "./sidebar";
import { acceptFrom, beginWith } from "./welcome";
import { locale, words } from "./words";

const THEME = "surfaces.theme";

function Page({ config, restored }: { config: Config; restored: MatrixClient | null }) {
  const [client, setClient] = useState(restored);
  const [problem, setProblem] = useState("");
  useEffect(() => {
    if (!client) return;
    return onLoggedOut(client, () => (setProblem(words.loggedOut), setClient(null)));
  }, [client]);
  return client ? <House client={client} config={config} /> : <Login config={config} done={setClient} before={problem} />;
}

function House({ client, config }: { client: MatrixClient; config: Config }) {
  const changes = useChanges(client);
  const [selected, select] = useSelection(client, config.bot);
  const [menu, setMenu] = useState(false);
  const [finding, setFinding] = useState(false);
  const [dark, turnTheme] = useTheme();
  const list = useMemo(() => groups(client, config.bot), [client, changes]);
  const room = joined(client, selected) ?? joined(client, list[0]?.rooms[0]?.id);
  useKeys(() => setFinding(true), () => setMenu(false));
  useTitle(client, changes);
  useEffect(() => sendAgainWhenBack(client), [client]);

  function go(to: string): void {
    select(to);
    setMenu(false);
  }

  return (
    <div class="house" data-menu={menu}>
      <Sidebar
        client={client}
        groups={list}
        invitations={invitations(client, config.bot)}
        selected={room?.roomId ?? null}
        select={go}
        begin={() => (begin(client, list, config.bot, room?.roomId), setMenu(false))}
        find={() => (setFinding(true), setMenu(false))}
        leave={() => void logOut(client)}
        dark={dark}
        turnTheme={turnTheme}
      />
      <button class="veil" aria-label={words.closeList} tabIndex={menu ? 0 : -1} onClick={() => setMenu(false)} />
      {room ? (
        <RoomView client={client} room={room} changes={changes} openMenu={() => setMenu(true)} select={go} />
      ) : (
        <Notice text={words.preparing} />
      )}
      {isOffline(client) && (
        <p class="offline" role="alert">
          {words.offline}
        </p>
      )}
      {finding && <Switcher groups={list} select={go} close={() => setFinding(false)} />}
      <Verifications client={client} />
    </div>
  );
}

/** The room that shows: kept over a reload, and a new conversation when one is opened. */
function useSelection(client: MatrixClient, bot: string): [string | null, (room: string) => void] {
  const key = `surfaces.room ${client.getSafeUserId()}`;
  const [selected, setSelected] = useState(localStorage.getItem(key));

  function select(room: string): void {
    localStorage.setItem(key, room);
    setSelected(room);
  }

  useEffect(() => {
    void beginWith(client, bot).catch(() => undefined);
    return acceptFrom(client, bot, select);
  }, [client]);
  return [selected, select];
}

function joined(client: MatrixClient, room: string | null | undefined): Room | null {
  const known = room ? client.getRoom(room) : null;
  return known?.getMyMembership() === "join" ? known : null;
}

/** Asks the bot for a conversation, in the direct chat or where the person is. */
function begin(client: MatrixClient, list: Group[], bot: string, here: string | undefined): void {
  const direct = list.find((group) => group.id === "direct")?.rooms[0]?.id;
  const there = here && client.getRoom(here)?.getMember(bot) ? here : undefined;
  const room = direct ?? there;
  if (room) void client.sendTextMessage(room, "!new").catch(() => undefined);
}

function useTheme(): [boolean, () => void] {
  const system = matchMedia("(prefers-color-scheme: dark)");
  const [chosen, setChosen] = useState(localStorage.getItem(THEME));
  const [systemDark, setSystemDark] = useState(system.matches);
  const dark = chosen ? chosen === "dark" : systemDark;
  useEffect(() => {
    const look = () => setSystemDark(system.matches);
    system.addEventListener("change", look);
    return () => system.removeEventListener("change", look);
  }, []);

  function turn(): void {
    const next = dark ? "light" : "dark";
    localStorage.setItem(THEME, next);
    document.documentElement.dataset.theme = next;
    setChosen(next);
  }

  return [dark, turn];
}

function useKeys(find: () => void, escape: () => void): void {
  useEffect(() => {
    const key = (event: KeyboardEvent) => {
      if ((event.ctrlKey || event.metaKey) && event.key.toLowerCase() === "k") {
        event.preventDefault();
        find();
      } else if (event.key === "Escape") escape();
    };
    document.addEventListener("keydown", key);
    return () => document.removeEventListener("keydown", key);
  }, []);
}

function useTitle(client: MatrixClient, changes: number): void {
  useEffect(() => {
    const waiting = client.getRooms().filter((room) => room.getMyMembership() === "join" && unread(room) > 0).length;
    document.title = waiting ? `(${waiting}) Surfaces` : "Surfaces";
  }, [changes]);
}

/** Two pages of one browser would share the keys of one device and break them. */
async function onlyOne(): Promise<boolean> {
  return await new Promise((resolve) => {
    void navigator.locks.request("surfaces", { ifAvailable: true }, (lock) => {
      resolve(lock !== null);
      return lock && new Promise(() => undefined);
    });
  });
}

function Notice({ text }: { text: string }) {
  return (
    <main class="waiting">
      <Mark />
      <p role="status">{text}</p>
    </main>
  );
}

async function open(): Promise<void> {
  const place = document.getElementById("page")!;
  const theme = localStorage.getItem(THEME);
  document.documentElement.lang = locale;
  if (theme) document.documentElement.dataset.theme = theme;
  render(<Notice text={words.oneMoment} />, place);
  try {
    if (!(await onlyOne())) return render(<Notice text={words.otherWindow} />, place);
    const config = await fetchConfig();
    const restored = await restore(config);
    render(<Page config={config} restored={restored} />, place);
  } catch {
    render(<Notice text={words.reload} />, place);
  }
}

void open();
