// The screens of a room, its door, the queue for the next partner and the conversations that it makes.

import { attribute, byId, keyed, show, stamp, text, within } from "./dom.js";
import { person } from "./person.js";
import { format, label, say } from "./words.js";

/** @typedef {import("./bindings.d.ts").Confirm} Confirm */
/** @typedef {import("./bindings.d.ts").Member} Member */
/** @typedef {import("./bindings.d.ts").PartnerMenu} PartnerMenu */

/** @param {import("./bindings.d.ts").Queue} now */
export function queue(now) {
  text(byId("queue-number"), "place" in now.place ? String(now.place.place) : "");
  text(byId("queue-place"), say(now.place));
  text(byId("queue-since"), format.moment(now.since));
}

/** @param {import("./bindings.d.ts").Conversation} now */
export function conversation(now) {
  person("match", now.peer, "");
  text(byId("elapsed"), now.elapsed_s === null ? "" : format.timer(now.elapsed_s));
  for (const id of ["remaining", "quality"]) text(byId(id), "");
  show(byId("lost-part"), false);
  text(byId("peer-muted"), say(now.mute_line));
  text(byId("connecting-line"), "");
  show(byId("trouble-part"), now.line !== null);
  attribute(byId("trouble-part"), "class", now.line?.id === "sound_lost" ? "banner warning" : "banner");
  text(byId("trouble"), say(now.line));
  attribute(byId("trouble"), "data-trouble", now.line?.id ?? null);
  for (const id of ["advice", "remedy"]) text(byId(id), "");
}

/** @param {import("./bindings.d.ts").Parted} now */
export function parted(now) {
  person("match-over", now.peer, "");
  text(byId("parted"), say(now.what));
  attribute(byId("parted"), "data-code", now.code);
}

/** Blocking and reporting whom the queue found. @param {PartnerMenu | null} menu */
export function partner(menu) {
  const part = /** @type {HTMLDetailsElement} */ (byId("partner"));
  // Another conversation begins with the menu closed.
  if (part.hidden) for (const each of [part, ...part.querySelectorAll("details")]) each.open = false;
  show(part, menu !== null);
  if (!menu) return;
  const block = byId("block-part");
  show(block, menu.block !== null);
  if (menu.block) confirm(block, menu.block, say(menu.block.open));
  show(byId("report-part"), menu.reported === null);
  text(byId("reported"), say(menu.reported));
  keyed(byId("complaints"), menu.complaints, (each) => each.complaint, () => stamp("complaint-row"), (node, each) => {
    const button = within(node, "button");
    attribute(button, "data-complaint", each.complaint);
    text(button, say(each.text));
  });
}

/** @param {string} topic @param {string} line @param {string | null} code @param {boolean} busy */
export function door(topic, line, code, busy) {
  text(byId("door-topic"), topic);
  text(byId("door-line"), line);
  attribute(byId("door-line"), "data-code", code);
  attribute(byId("door-line"), "aria-busy", busy ? "true" : null);
}

/** @param {import("./bindings.d.ts").Room} now */
export function room(now) {
  text(byId("room-topic"), now.topic);
  text(byId("room-elapsed"), format.timer(now.elapsed_s));
  text(byId("room-door-line"), say(now.door));
  show(byId("lock"), now.locked !== null);
  attribute(byId("lock"), "aria-pressed", String(now.locked === true));
  show(byId("room-door"), now.door !== null);
  text(byId("room-empty"), say(now.empty));
  text(byId("room-muted"), say(now.mute_line));
  keyed(byId("members"), now.members, (each) => each.member, () => stamp("member"), member);
}

/** @param {HTMLElement} node @param {Member} now */
function member(node, now) {
  const classes = ["member", ...(now.own ? ["own"] : []), ...(now.speaking ? ["speaking"] : [])];
  attribute(node, "class", classes.join(" "));
  attribute(node, "data-member", now.member);
  text(within(node, ".initials"), now.peer.initials);
  text(within(node, ".peer"), now.peer.name);
  text(within(node, ".tags"), now.tags.map(say).join(" \u00b7 "));
  let remove = node.querySelector("details");
  if (!now.remove) return remove?.remove();
  if (!remove) {
    remove = /** @type {HTMLDetailsElement} */ (label(stamp("member-remove")));
    node.append(remove);
  }
  attribute(within(remove, "summary"), "aria-label", say(now.remove.open));
  attribute(within(remove, "button"), "data-remove", now.member);
  confirm(remove, now.remove, null);
}

/** @param {HTMLElement} part @param {Confirm} now @param {string | null} open */
function confirm(part, now, open) {
  if (open !== null) text(within(part, "summary"), open);
  text(within(part, "p"), say(now.what));
  text(within(part, "button"), say(now.act));
}
