// Shows a view. One function for each screen; each only copies values of the view into elements of index.html.

import { attribute, byId, keyed, show, stamp, text, within } from "./dom.js";
import { person } from "./person.js";
import { ownCheck, report, trial, trouble } from "./network.js";
import { conversation, door, parted, partner, queue, room } from "./rooms.js";
import { lines, panel } from "./text.js";
import { format, label, say } from "./words.js";

/** @typedef {import("./bindings.d.ts").View} View */
/** @typedef {import("./bindings.d.ts").Screen} Screen */
/** @typedef {import("./bindings.d.ts").Action} Action */
/** @typedef {import("./bindings.d.ts").Card} Card */
/** @typedef {import("./bindings.d.ts").DeviceOption} DeviceOption */
/** @typedef {import("./bindings.d.ts").Press} Press */

/** @param {View} view */
export function render(view) {
  const before = document.body.dataset.screen;
  const focused = document.activeElement;
  document.body.dataset.screen = view.screen.name;
  for (const section of document.querySelectorAll("section")) {
    show(section, (section.dataset.for ?? "").split(" ").includes(view.screen.name));
  }
  frame(view);
  screen(view.screen);
  partner("partner" in view.screen ? view.screen.partner : null);
  sound(view);
  actions(view.actions);
  panel(view.text);
  report(view.report);
  moveFocus(before, view.screen.name, focused);
}

/** The request that an element of the page stands for, if it is one of the bar's. @param {Element} element @returns {Press | null} */
export function press_of(element) {
  return /** @type {Press | null} */ (element.getAttribute("data-press"));
}

/** @param {View} view */
function frame(view) {
  text(byId("you"), view.you?.name ?? "");
  show(byId("sign-out"), view.you?.sign_out ?? false);
  // Said anew only when it is something else.
  const announce = byId("announce");
  if (announce.textContent !== say(view.announce)) announce.textContent = say(view.announce);
  const notices = view.notices;
  show(byId("notices"), notices.length > 0);
  keyed(byId("notices"), notices, (notice) => notice.text.id, () => stamp("notice"), (node, notice) => {
    attribute(node, "class", `banner ${notice.mood}`);
    attribute(node, "data-notice", notice.text.id);
    text(within(node, ".words"), say(notice.text));
    const offer = within(node, ".offer");
    attribute(offer, "data-offer", notice.offer?.act ?? null);
    text(offer, say(notice.offer?.label));
  });
}

/** @param {Screen} now */
function screen(now) {
  switch (now.name) {
    case "sign-in": return signIn(now);
    case "home": return home(now);
    case "check": return check(now);
    case "trial": return trial(now);
    case "calling":
      person("calling", now.peer, now.topic);
      return text(byId("calling-line"), say(now.line));
    case "incoming": return incoming(now);
    case "connecting": return connecting(now);
    case "in-call":
    case "reconnecting": return talk(now);
    case "elsewhere":
      person("elsewhere", now.peer, "");
      return text(byId("elsewhere-line"), say(now.line));
    case "ended": return ended(now);
    case "queue": return queue(now);
    case "match": return conversation(now);
    case "match-over": return parted(now);
    case "door": return door("", say(now.line), null, now.busy);
    case "room": return room(now);
    case "room-over": return door(now.topic, say(now.reason), now.code, false);
  }
}

/** @param {import("./bindings.d.ts").SignIn} now */
function signIn(now) {
  text(byId("sign-in-problem"), say(now.problem));
  disable("join-link", now.busy);
  show(byId("dev-form"), now.server !== null);
  const server = /** @type {HTMLInputElement} */ (byId("dev-server"));
  if (server.dataset.given !== now.server && now.server !== null) {
    server.dataset.given = now.server;
    server.value = now.server;
  }
  disable("dev-server", now.busy);
  disable("dev-ask", now.busy);
  show(byId("dev-people"), now.people.length > 0);
  const people = now.people.map((person, at) => ({ person, at }));
  keyed(byId("people"), people, ({ at }) => String(at), () => stamp("person"), (node, { person, at }) => {
    const button = within(node, "button");
    attribute(button, "data-person", person.name);
    attribute(button, "data-at", String(at));
    /** @type {HTMLButtonElement} */ (button).disabled = now.busy;
    text(within(node, ".who"), person.name);
    text(within(node, ".role"), say(person.role));
  });
}

/** @param {string} id @param {boolean} disabled */
function disable(id, disabled) {
  /** @type {HTMLInputElement} */ (byId(id)).disabled = disabled;
}

/** @param {import("./bindings.d.ts").Home} now */
function home(now) {
  text(byId("home-empty"), say(now.empty));
  const next = byId("next");
  show(next, now.next !== null);
  let node = next.querySelector(".booking");
  if (!(node instanceof HTMLElement)) {
    node = stamp("card");
    next.append(node);
  }
  if (now.next) card(/** @type {HTMLElement} */ (node), now.next);
  show(byId("later-part"), now.later.length > 0);
  const row = () => {
    const item = document.createElement("li");
    item.append(stamp("card"));
    return item;
  };
  keyed(byId("later"), now.later, (each) => each.booking, row, (item, each) => card(within(item, ".booking"), each));
  show(byId("history-empty"), now.history.length === 0);
  show(byId("history-more"), now.more_history);
  keyed(byId("history"), now.history, (past) => past.call, () => label(stamp("past")), (item, past) => {
    attribute(item, "class", past.missed ? "past missed" : "past");
    text(within(item, ".initials"), past.peer.initials);
    text(within(item, ".peer"), past.peer.name);
    text(within(item, ".what"), say(past.what));
    text(within(item, ".length"), past.duration_s === null ? "" : format.timer(past.duration_s));
    text(within(item, ".when"), format.moment(past.at));
    text(within(item, ".sounded"), say(past.quality));
    show(within(item, ".kept"), past.text.length > 0);
    lines(within(item, ".kept ul"), past.text);
  });
}

/** @param {HTMLElement} node @param {Card} card */
function card(node, card) {
  attribute(node, "data-booking", card.booking);
  attribute(node, "class", card.open ? "card booking open" : "card booking");
  text(within(node, ".initials"), card.peer.initials);
  text(within(node, ".peer"), card.peer.name);
  text(within(node, ".topic"), card.topic);
  text(within(node, ".when"), `${format.day(card.starts_at)}\n${format.span(card.starts_at, card.ends_at)}`);
  text(within(node, ".window"), say(card.window));
  const presence = within(node, ".presence");
  text(presence, say(card.presence?.text));
  attribute(presence, "class", card.presence?.here ? "presence here" : "presence");
  text(within(node, ".readiness"), say(card.readiness));
  ownCheck(within(node, ".own-check"), card.own_check);
  // Not merely hidden: the bar may hold the call button of the same booking.
  let call = node.querySelector(".call");
  if (!card.call) return call?.remove();
  if (!call) {
    call = stamp("card-call");
    within(node, ".words").append(call);
  }
  attribute(call, "data-call", card.booking);
  text(/** @type {HTMLElement} */ (call), say({ id: "do_call", name: card.peer.name }));
}

/** @param {import("./bindings.d.ts").Check} now */
function check(now) {
  const verdict = byId("verdict");
  text(verdict, say(now.verdict));
  attribute(verdict, "data-verdict", now.verdict.id);
  attribute(verdict, "data-mood", now.mood);
  text(byId("speaker-line"), say(now.speaker));
  tick("relay-only", now.relay_only);
}

/** @param {import("./bindings.d.ts").Incoming} now */
function incoming(now) {
  person("incoming", now.peer, now.topic);
  text(byId("incoming-when"), now.starts_at === null ? "" : format.moment(now.starts_at));
  text(byId("incoming-leaves"), say(now.leaves));
  keyed(within(byId("reasons"), "ul"), now.reasons, (reason) => reason.because, () => stamp("reason-row"), (node, reason) => {
    const button = within(node, "button");
    attribute(button, "data-because", reason.because);
    text(button, say(reason.text));
  });
}

/** @param {import("./bindings.d.ts").Connecting} now */
function connecting(now) {
  person("connecting", now.peer, "");
  text(byId("connecting-line"), say(now.line));
  for (const id of ["elapsed", "remaining", "quality", "peer-muted"]) text(byId(id), "");
  show(byId("lost-part"), false);
  trouble(now.trouble);
}

/** @param {import("./bindings.d.ts").Talk} now */
function talk(now) {
  person("in-call", now.peer, "");
  text(byId("connecting-line"), "");
  text(byId("elapsed"), format.timer(now.elapsed_s));
  text(byId("remaining"), say(now.remaining));
  text(byId("quality"), say(now.quality));
  attribute(byId("quality"), "data-mood", now.mood);
  text(byId("peer-muted"), say(now.mute_line));
  trouble(now.trouble);
  show(byId("lost-part"), now.lost_s !== null);
  text(byId("lost"), say(now.lost));
  text(byId("lost-seconds"), now.lost_s === null ? "" : format.timer(now.lost_s));
  keyed(byId("figures"), now.figures, (figure) => figure.label.id, () => stamp("figure-row"), (node, figure) => {
    attribute(node, "data-figure", figure.label.id);
    text(within(node, "dt"), say(figure.label));
    text(within(node, "dd"), say(figure.value));
  });
}

/** @param {import("./bindings.d.ts").Ended} now */
function ended(now) {
  person("ended", now.peer, "");
  text(byId("reason"), say(now.reason));
  attribute(byId("reason"), "data-code", now.code);
  text(byId("duration"), now.duration_s === null ? "" : format.timer(now.duration_s));
  attribute(byId("duration"), "data-seconds", now.duration_s === null ? null : String(now.duration_s));
  text(byId("call-quality"), say(now.quality));
}

/** @param {View} view */
function sound(view) {
  show(byId("details"), "figures" in view.screen && view.screen.figures.length > 0);
  const sound = view.sound;
  // Where there are no devices to hear from, nothing moves.
  const hears = sound !== null || ("speak" in view.screen && view.screen.speak);
  if (!hears) level(0, 0);
  const panel = /** @type {HTMLDetailsElement} */ (byId("sound"));
  if (sound && panel.hidden && view.screen.name === "check") panel.open = true;
  else if (sound && panel.hidden) panel.open = false;
  show(panel, sound !== null);
  if (!sound) return;
  options("input-device", sound.inputs);
  options("output-device", sound.outputs);
  options("ring-device", sound.rings);
  tick("original-sound", sound.original_sound);
  tick("echo-cancellation", sound.echo_cancellation);
  tick("gain-control", sound.gain_control);
  const noise = /** @type {HTMLSelectElement} */ (byId("noise-suppression"));
  if (noise.value !== sound.noise_suppression) noise.value = sound.noise_suppression;
  // Greyed out as one, and said so: they keep what they are for when it is off again.
  const processing = /** @type {HTMLFieldSetElement} */ (byId("processing"));
  if (processing.disabled !== sound.original_sound) processing.disabled = sound.original_sound;
  show(byId("processing-idle"), sound.original_sound);
}

/** How loud both sides are, 0 to 1. @param {number} input @param {number} output */
export function level(input, output) {
  const style = document.documentElement.style;
  style.setProperty("--own", input.toFixed(2));
  style.setProperty("--voice", output.toFixed(2));
  for (const meter of document.querySelectorAll(".meter")) attribute(meter, "aria-valuenow", String(Math.round(input * 100)));
}

/** @param {string} id @param {DeviceOption[]} devices */
function options(id, devices) {
  const list = /** @type {HTMLSelectElement} */ (byId(id));
  const make = () => document.createElement("option");
  keyed(list, devices, (device) => JSON.stringify(device.pick), make, (node, device) => {
    const value = JSON.stringify(device.pick);
    attribute(node, "value", value);
    text(node, say(device.label));
    if (device.chosen && list.value !== value) list.value = value;
  });
}

/** @param {string} id @param {boolean} checked */
function tick(id, checked) {
  const box = /** @type {HTMLInputElement} */ (byId(id));
  if (box.checked !== checked) box.checked = checked;
}

/** @param {Action[]} wanted */
function actions(wanted) {
  const bar = byId("actions");
  attribute(bar, "data-booking", wanted.find((action) => action.press === "call")?.booking ?? null);
  keyed(bar, wanted, (action) => action.press, () => stamp("action"), (node, action) => {
    const button = /** @type {HTMLButtonElement} */ (node);
    attribute(button, "id", action.press === "call" ? null : action.press);
    attribute(button, "class", `${action.press} ${action.color}${action.primary ? " primary" : ""}`);
    attribute(button, "data-press", action.press);
    attribute(button, "data-call", action.booking);
    attribute(button, "aria-pressed", action.pressed === null ? null : String(action.pressed));
    if (button.disabled === action.enabled) button.disabled = !action.enabled;
    text(within(button, ".words"), say(action.label));
  });
}

/**
 * A new screen takes the focus to its heading, which presses nothing and is read out; the same screen keeps it, unless
 * what had it is gone.
 * @param {string | undefined} before @param {Screen["name"]} now @param {Element | null} focused
 */
function moveFocus(before, now, focused) {
  const here = focused instanceof HTMLElement && focused !== document.body && focused.isConnected;
  const kept = here && focused.getClientRects().length > 0 && !focused.matches(":disabled");
  const was_placed = focused !== null && focused !== document.body;
  if (kept || (before === now && !was_placed)) return;
  if (now === "sign-in") return byId("join-link").focus();
  within(document, `section[data-for~="${now}"] h1`).focus();
}
