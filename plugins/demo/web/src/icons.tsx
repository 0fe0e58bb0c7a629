// The page's signs: drawn, so that they look the same everywhere and need no fonts.
import type { JSX } from "preact";

const PATHS = {
  menu: "M4 7h16M4 12h16M4 17h10",
  plus: "M12 5v14M5 12h14",
  lock: "M7 11V8a5 5 0 0 1 10 0v3M6 11h12v9H6z",
  send: "M5 12h13M12.500 6l6 6-6 6",
  clip: "M20 11.500l-8 8a5 5 0 0 1-7-7l8.500-8.500a3.400 3.400 0 0 1 4.800 4.800l-8.500 8.500a1.700 1.700 0 0 1-2.400-2.400l7.800-7.800",
  moon: "M20 14.500A8.500 8.500 0 0 1 9.500 4 8.500 8.500 0 1 0 20 14.500z",
  sun: "M12 8a4 4 0 1 0 0 8 4 4 0 0 0 0-8zM12 2.500v2M12 19.500v2M2.500 12h2M19.500 12h2M5.300 5.300l1.400 1.400M17.300 17.300l1.400 1.400M5.300 18.700l1.400-1.400M17.300 6.700l1.400-1.400",
  search: "M10.500 4a6.500 6.500 0 1 0 0 13 6.500 6.500 0 0 0 0-13zM15.500 15.500L20 20",
  leave: "M14 4H6v16h8M11 12h9M16.500 8.500L20 12l-3.500 3.500",
  file: "M7 3h7l4 4v14H7zM14 3v4h4",
  save: "M12 4v11M7.500 11l4.500 4.500L16.500 11M5 20h14",
  down: "M12 5v13M6.500 12.500L12 18l5.500-5.500",
  close: "M6 6l12 12M18 6L6 18",
  clock: "M12 4a8 8 0 1 0 0 16 8 8 0 0 0 0-16zM12 8v4.500l3 2",
  check: "M5 12.500l4.500 4.500L19 7.500",
  checks: "M2.500 12.500L7 17l9-9.500M11.500 16.500l.5.500 9-9.500",
  warn: "M12 4l9 16H3zM12 10v4.500M12 17.200v.2",
  up: "M7 11l5-5 5 5M12 6v13",
  down_thumb: "M7 13l5 5 5-5M12 18V5",
};

export function Icon({ name, label }: { name: keyof typeof PATHS; label?: string }): JSX.Element {
  const said = label ? ({ role: "img", "aria-label": label } as const) : ({ "aria-hidden": true } as const);
  return (
    <svg class="icon" viewBox="0 0 24 24" {...said}>
      {label && <title>{label}</title>}
      <path d={PATHS[name]} />
    </svg>
  );
}

/** The sign of the page. */
export function Mark(): JSX.Element {
  return <img class="mark" src="icon.svg" alt="" />;
}
