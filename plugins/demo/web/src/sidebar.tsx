// The list of rooms, beside the room on wide screens and in a drawer on narrow ones.
import type { MatrixClient } from "matrix-js-sdk";
import type { JSX } from "preact";

import { Icon, Mark } from "./icons";
import type { Group, RoomEntry } from "./rooms";

interface Props {
  client: MatrixClient;
  groups: Group[];
  invitations: RoomEntry[];
  selected: string | null;
  select: (room: string) => void;
  begin: () => void;
  find: () => void;
  leave: () => void;
  dark: boolean;
  turnTheme: () => void;
}

export function Sidebar(props: Props): JSX.Element {
  return (
    <nav class="sidebar" aria-label="Conversations">
      <header>
        <Mark />
        <span class="brand">Surfaces</span>
        <button class="plain" onClick={props.find} aria-label="Find a room (Ctrl+K)" title="Find a room (Ctrl+K)">
          <Icon name="search" />
        </button>
      </header>
      <button class="begin" onClick={props.begin}>
        <Icon name="plus" /> New conversation
      </button>
      <div class="groups">
        {props.invitations.length > 0 && <Invitations {...props} />}
        {props.groups.map((group) => (
          <section key={group.id} aria-label={group.title}>
            <h2 title={group.title}>{group.title}</h2>
            <ul>
              {group.rooms.map((room) => (
                <Row key={room.id} room={room} selected={room.id === props.selected} select={props.select} />
              ))}
            </ul>
          </section>
        ))}
      </div>
      <footer>
        <span class="person" title={props.client.getSafeUserId()}>
          {props.client.getSafeUserId()}
        </span>
        <button class="plain" onClick={props.turnTheme} aria-label={props.dark ? "Light" : "Dark"} title="Light or dark">
          <Icon name={props.dark ? "sun" : "moon"} />
        </button>
        <button class="plain" onClick={props.leave} aria-label="Log out" title="Log out">
          <Icon name="leave" />
        </button>
      </footer>
    </nav>
  );
}

function Row({ room, selected, select }: { room: RoomEntry; selected: boolean; select: (room: string) => void }) {
  return (
    <li>
      <button class="row" aria-current={selected ? "page" : undefined} onClick={() => select(room.id)}>
        <span class="name">{room.name}</span>
        {room.encrypted && <Icon name="lock" label="encrypted" />}
        {room.writing && <span class="dots" role="img" aria-label="writing" />}
        {room.unread > 0 && !selected && (
          <span class="unread">
            {room.unread}
            <span class="aside"> unread</span>
          </span>
        )}
      </button>
    </li>
  );
}

function Invitations({ client, invitations, select }: Props) {
  async function accept(room: string): Promise<void> {
    await client.joinRoom(room);
    select(room);
  }

  return (
    <section aria-label="Invitations">
      <h2>Invitations</h2>
      <ul>
        {invitations.map((room) => (
          <li key={room.id} class="invitation">
            <span class="name">{room.name}</span>
            <button onClick={() => void accept(room.id)}>Join</button>
            <button class="plain" aria-label={`Decline ${room.name}`} onClick={() => void client.leave(room.id)}>
              <Icon name="close" />
            </button>
          </li>
        ))}
      </ul>
    </section>
  );
}
