// The other person of a screen.

import { text, within } from "./dom.js";

/** @typedef {import("./bindings.d.ts").Peer} Peer */

/** @param {string} screen @param {Peer} peer @param {string} topic */
export function person(screen, peer, topic) {
  const section = within(document, `section[data-for~="${screen}"]`);
  text(within(section, ".initials"), peer.initials);
  text(within(section, ".peer"), peer.name);
  const line = section.querySelector(".topic");
  if (line instanceof HTMLElement) text(line, topic);
}
