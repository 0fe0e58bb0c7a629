// The list of rooms, beside the room on wide screens and in a drawer on narrow ones.
import type { MatrixClient } from "matrix-js-sdk";
import type { JSX } from "preact";

import { Icon, Mark } from "./icons";
import type { Group, RoomEntry } from "./rooms";
import { words } from "./words";

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
  const theme = props.dark ? words.light : words.dark;
  return (
    <nav class="sidebar" aria-label={words.conversations}>
      <header>
        <Mark />
        <span class="brand">Surfaces</span>
        <button class="plain" onClick={props.find} aria-label={words.findRoom} title={`${words.findRoom} (Ctrl+K)`}>
          <Icon name="search" />
        </button>
      </header>
      <button class="begin" onClick={props.begin}>
        <Icon name="plus" /> {words.newConversation}
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
        <button class="plain" onClick={props.turnTheme} aria-label={theme} title={theme}>
          <Icon name={props.dark ? "sun" : "moon"} />
        </button>
        <button class="plain" onClick={props.leave} aria-label={words.logOut} title={words.logOut}>
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
        {room.encrypted && <Icon name="lock" label={words.encrypted} />}
        {room.writing && <span class="dots" role="img" aria-label={words.writing} />}
        {room.unread > 0 && !selected && (
          <span class="unread">
            {room.unread}
            <span class="aside"> {words.unread}</span>
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
    <section aria-label={words.invitations}>
      <h2>{words.invitations}</h2>
      <ul>
        {invitations.map((room) => (
          <li key={room.id} class="invitation">
            <span class="name">{room.name}</span>
            <button onClick={() => void accept(room.id)}>{words.join}</button>
            <button class="plain" aria-label={words.decline(room.name)} onClick={() => void client.leave(room.id)}>
              <Icon name="close" />
            </button>
          </li>
        ))}
      </ul>
    </section>
  );
}
