// The page: hears views and levels from the shell, sends it what people press.

import { level, press_of, render } from "./render.js";
import { byId } from "./dom.js";
import { watchKeys } from "./keys.js";
import { lead } from "./network.js";
import { takeWritten } from "./text.js";
import { ask, listen, windowLabel } from "./shell.js";
import { label, language } from "./words.js";

/** @typedef {import("./bindings.d.ts").View} View */
/** @typedef {import("./bindings.d.ts").Level} Level */
/** @typedef {import("./bindings.d.ts").Press} Press */
/** @typedef {import("./bindings.d.ts").OfferAct} OfferAct */

const input = (/** @type {string} */ id) => /** @type {HTMLInputElement} */ (byId(id));
const select = (/** @type {string} */ id) => /** @type {HTMLSelectElement} */ (byId(id));

/** What the button beside a notice asks for. @type {Record<OfferAct, () => void>} */
const offers = {
  "open-settings": () => ask("open_microphone_settings"),
  unmute: () => ask("unmute"),
  "play-aloud": () => ask("use_held_output"),
};

/** What each button of the bar asks for. @type {Record<Press, (button: HTMLElement) => void>} */
const presses = {
  "sign-in": () => ask("sign_in", { link: input("join-link").value }),
  "cancel-sign-in": () => ask("sign_out"),
  call: (button) => ask("call", { booking: button.dataset.call ?? "" }),
  check: () => ask("check", { on: true }),
  "check-done": () => ask("check", { on: false }),
  "test-sound": () => ask("test_sound"),
  "start-check": () => ask("start_check"),
  "stop-check": () => ask("stop_check"),
  cancel: () => ask("hang_up"),
  accept: () => ask("accept"),
  decline: () => ask("decline", { because: "not_now" }),
  mute: () => ask("toggle_mute"),
  "hang-up": () => ask("hang_up"),
  "call-again": (button) => ask("call", { booking: button.dataset.call ?? "" }),
  dismiss: () => ask("dismiss"),
  search: () => ask("search"),
  "stop-searching": () => ask("stop_searching"),
  "next-person": () => ask("next_person"),
  "find-next": () => ask("search"),
  back: () => ask("dismiss"),
  leave: () => ask("leave"),
  "enter-room": () => ask("enter_room"),
  "turn-back": () => ask("sign_out"),
  text: (button) => ask("open_text", { open: button.getAttribute("aria-pressed") !== "true" }),
};

function watchPage() {
  document.addEventListener("click", (event) => {
    const button = event.target instanceof Element ? event.target.closest("button") : null;
    if (!button) return;
    const press = press_of(button);
    if (press) presses[press](button);
    else if (button.dataset.person !== undefined) ask("sign_in_as", { person: Number(button.dataset.at) });
    else if (button.dataset.because) ask("decline", { because: button.dataset.because });
    else if (button.dataset.offer) offers[/** @type {OfferAct} */ (button.dataset.offer)]();
    else if (button.dataset.remedy === "permission") ask("open_microphone_settings");
    else if (button.dataset.remedy) lead(button.dataset.remedy);
    else if (button.classList.contains("look")) ask("look_at_check");
    else if (button.classList.contains("save-report")) ask("save_report");
    else if (button.id === "sign-out") ask("sign_out");
    else if (button.id === "history-more") ask("more_history");
    else if (button.id === "lock") ask("lock_room", { locked: button.getAttribute("aria-pressed") !== "true" });
    else if (button.id === "block") ask("block");
    else if (button.id === "text-close") ask("open_text", { open: false });
    else if (button.dataset.remove !== undefined) ask("remove_member", { member: button.dataset.remove });
    else if (button.dataset.complaint) ask("report", { complaint: button.dataset.complaint });
  });
  byId("sign-in-form").addEventListener("submit", (event) => event.preventDefault());
  byId("join-link").addEventListener("keydown", (event) => {
    if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
    event.preventDefault();
    presses["sign-in"](byId("join-link"));
  });
  byId("dev-form").addEventListener("submit", (event) => {
    event.preventDefault();
    ask("find_people", { server: input("dev-server").value });
  });
  byId("text-form").addEventListener("submit", (event) => {
    event.preventDefault();
    const written = takeWritten();
    if (written) ask("say", { text: written });
  });
  input("relay-only").addEventListener("change", () => ask("set_relay_only", { on: input("relay-only").checked }));
  input("text-keep").addEventListener("change", () => ask("keep_text", { keep: input("text-keep").checked }));
  for (const [id, command] of [["input-device", "set_input"], ["output-device", "set_output"], ["ring-device", "set_ring"]]) {
    select(id).addEventListener("change", () => ask(command, { pick: JSON.parse(select(id).value) }));
  }
  for (const id of ["original-sound", "echo-cancellation", "gain-control", "noise-suppression"]) {
    byId(id).addEventListener("change", () => {
      /** @type {import("./bindings.d.ts").ProcessingChoice} */
      const choice = {
        echo_cancellation: input("echo-cancellation").checked,
        noise_suppression: /** @type {"off" | "standard" | "strong"} */ (select("noise-suppression").value),
        gain_control: input("gain-control").checked,
        original_sound: input("original-sound").checked,
      };
      ask("set_processing", { choice });
    });
  }
}

async function start() {
  document.documentElement.lang = language;
  label(document);
  document.body.dataset.window = windowLabel;
  watchPage();
  watchKeys((press) => {
    const button = [...document.querySelectorAll("#actions button")].find((each) => press_of(each) === press);
    if (button instanceof HTMLButtonElement && !button.disabled) presses[press](button);
    return button !== undefined;
  });
  await listen("view", (/** @type {View} */ view) => {
    // The ring window is closed by the shell when the ring is over; until then it shows nothing else.
    if (windowLabel === "main" || view.screen.name === "incoming") render(view);
  });
  if (windowLabel === "main") await listen("level", (/** @type {Level} */ now) => level(now.input, now.output));
  ask("page_ready");
}

start();
