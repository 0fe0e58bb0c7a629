// HTML of messages made safe, and made the page's own: links, code with a copy button, spoilers, fresh text.
import DOMPurify from "dompurify";

import { words } from "./words";

// Matrix client-server API, "m.room.message msgtypes", without images: nothing is fetched for a message's sake.
const TAGS = (
  "del h1 h2 h3 h4 h5 h6 blockquote p a ul ol sup sub li b i u strong em s code hr br div table thead tbody tr th td " +
  "caption pre span details summary"
).split(" ");
const ATTRIBUTES = ["href", "title", "class", "start", "colspan", "rowspan", "data-mx-spoiler"];
const TO_ROOM = /^https:\/\/matrix\.to\/#\/([^/?]+)/;
const ADDRESS = /\bhttps?:\/\/[^\s<>"]+[^\s<>".,;:!?)\]}'’”]/g;

const purifier = DOMPurify(window);
purifier.addHook("afterSanitizeAttributes", (node) => {
  // Classes carry the language of code and nothing else.
  const language = node.nodeName === "CODE" ? /\blanguage-([\w+#-]{1,20})/.exec(node.className)?.[1] : undefined;
  node.removeAttribute("class");
  if (language && node.parentElement?.nodeName === "PRE") node.parentElement.dataset.language = language;
  if (node.nodeName === "A") prepareLink(node as HTMLAnchorElement);
});

export function safeHtml(html: string): DocumentFragment {
  const fragment = purifier.sanitize(html.replace(/<mx-reply>.*?<\/mx-reply>/gs, ""), {
    ALLOWED_TAGS: TAGS,
    ALLOWED_ATTR: ATTRIBUTES,
    ALLOW_DATA_ATTR: false,
    ALLOW_ARIA_ATTR: false,
    ALLOWED_URI_REGEXP: /^(?:https?|mailto|matrix):/i,
    RETURN_DOM_FRAGMENT: true,
  });
  for (const block of fragment.querySelectorAll("pre")) addCopyButton(block);
  for (const hidden of fragment.querySelectorAll<HTMLElement>("[data-mx-spoiler]")) hide(hidden);
  return fragment;
}

/** Plain text with its addresses as links. */
export function plainHtml(text: string): DocumentFragment {
  const fragment = document.createDocumentFragment();
  let done = 0;
  for (const match of text.matchAll(ADDRESS)) {
    fragment.append(text.slice(done, match.index));
    const link = document.createElement("a");
    link.href = link.textContent = match[0];
    prepareLink(link);
    fragment.append(link);
    done = match.index + match[0].length;
  }
  fragment.append(text.slice(done));
  return fragment;
}

/** The room that a link leads to, where it is one to a room. */
export function roomOf(link: HTMLAnchorElement): string | null {
  const name = TO_ROOM.exec(link.href)?.[1];
  const id = name ? decodeURIComponent(name) : "";
  return id.startsWith("!") ? id : null;
}

/** Marks what stands beyond the first `length` characters, so that it can come in softly. */
export function markFresh(root: Node, length: number): void {
  const walker = document.createTreeWalker(root, NodeFilter.SHOW_TEXT);
  const fresh: [Text, number][] = [];
  let before = 0;
  for (let node = walker.nextNode() as Text | null; node; node = walker.nextNode() as Text | null) {
    if (before + node.length > length) fresh.push([node, Math.max(0, length - before)]);
    before += node.length;
  }
  for (const [node, kept] of fresh) {
    const added = kept ? node.splitText(kept) : node;
    const mark = document.createElement("span");
    mark.className = "fresh";
    added.replaceWith(mark);
    mark.append(added);
  }
}

function prepareLink(link: HTMLAnchorElement): void {
  if (roomOf(link)) link.className = "pill";
  link.target = "_blank";
  link.rel = "noopener noreferrer";
}

function addCopyButton(block: HTMLPreElement): void {
  const frame = document.createElement("div");
  frame.className = "code";
  const button = document.createElement("button");
  button.type = "button";
  button.className = "copy";
  button.textContent = words.copy;
  const language = document.createElement("span");
  language.className = "language";
  language.textContent = block.dataset.language ?? "";
  const head = document.createElement("div");
  head.className = "code-head";
  head.append(language, button);
  block.tabIndex = 0;
  block.replaceWith(frame);
  frame.append(head, block);
}

function hide(hidden: HTMLElement): void {
  hidden.className = "spoiler";
  hidden.tabIndex = 0;
  hidden.setAttribute("role", "button");
  hidden.setAttribute("aria-label", words.hidden);
}
