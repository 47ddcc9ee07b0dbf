// Text beside the voice: the panel, and the lines that a record kept. Lines are only ever text.

import { attribute, byId, keyed, show, stamp, text, within } from "./dom.js";
import { say } from "./words.js";

/** @typedef {import("./bindings.d.ts").TextLine} TextLine */
/** @typedef {import("./bindings.d.ts").TextPanel} TextPanel */

/** @param {TextPanel | null} now */
export function panel(now) {
  const part = byId("text-panel");
  const opens = now !== null && now.open && part.hidden;
  const closes = (now === null || !now.open) && !part.hidden;
  const had_focus = part.contains(document.activeElement);
  show(part, now !== null && now.open);
  attribute(document.body, "data-text", now?.open ? "open" : null);
  if (closes) {
    input().value = "";
    byId("text-lines").replaceChildren();
    if (had_focus) document.getElementById("text")?.focus();
  }
  if (!now || !now.open) return;
  const log = byId("text-log");
  const at_end = log.scrollHeight - log.scrollTop - log.clientHeight < 16;
  lines(byId("text-lines"), now.lines);
  text(byId("text-empty"), say(now.empty));
  text(byId("text-problem"), say(now.problem));
  attribute(input(), "placeholder", input().getAttribute("aria-label"));
  input().maxLength = now.longest;
  input().readOnly = !now.can_write;
  /** @type {HTMLButtonElement} */ (byId("text-send")).disabled = !now.can_write;
  show(byId("text-keep-part"), now.keep !== null);
  const keep = /** @type {HTMLInputElement} */ (byId("text-keep"));
  if (now.keep && keep.checked !== now.keep.on) keep.checked = now.keep.on;
  text(byId("text-keep-line"), say(now.keep?.line));
  if (opens) input().focus();
  // Whoever reads further up stays there.
  if (opens || at_end) log.scrollTop = log.scrollHeight;
}

/** @param {HTMLElement} list @param {TextLine[]} now */
export function lines(list, now) {
  keyed(list, now, (line) => String(line.number), () => stamp("text-row"), (node, line) => {
    attribute(node, "class", line.own ? "text-row own" : "text-row");
    text(within(node, ".who"), say(line.who));
    text(within(node, ".what"), line.text);
    const state = within(node, ".state");
    show(state, line.state !== null);
    attribute(state, "data-state", line.state?.id ?? null);
    text(within(state, ".words"), say(line.state));
  });
}

/** What is in the field, which is empty then. */
export function takeWritten() {
  const written = input().value.trim();
  if (input().readOnly) return "";
  input().value = "";
  return written;
}

function input() {
  return /** @type {HTMLInputElement} */ (byId("text-line"));
}
