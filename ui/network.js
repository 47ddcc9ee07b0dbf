// What is wrong with the sound of a call, the check before one, and the report after it.

import { attribute, byId, keyed, show, stamp, text, within } from "./dom.js";
import { label, phrase, say } from "./words.js";

/** In a call: a sentence, an advice, and a button where the app can help. @param {import("./bindings.d.ts").Trouble | null} now */
export function trouble(now) {
  const part = byId("trouble-part");
  show(part, now !== null);
  attribute(part, "class", "banner warning");
  text(byId("trouble"), say(now?.text));
  attribute(byId("trouble"), "data-trouble", now?.text.id ?? null);
  text(byId("advice"), say(now?.advice));
  const remedy = byId("remedy");
  attribute(remedy, "data-remedy", now?.remedy ?? null);
  text(remedy, now?.remedy ? phrase(`remedy_${now.remedy}`) : "");
}

/** Opens the choice that mends it. @param {string} remedy */
export function lead(remedy) {
  const panel = /** @type {HTMLDetailsElement} */ (byId("sound"));
  panel.open = true;
  byId(remedy === "speaker" ? "output-device" : "input-device").focus();
}

/** @param {import("./bindings.d.ts").Trial} now */
export function trial(now) {
  const line = byId("trial-line");
  text(line, say(now.line));
  attribute(line, "data-verdict", now.line.id);
  attribute(line, "data-mood", now.mood);
  show(byId("trial-meter"), now.speak);
  const progress = byId("trial-progress");
  show(progress, now.percent !== null);
  attribute(progress, "aria-valuenow", now.percent === null ? null : String(now.percent));
  progress.style.setProperty("--done", String((now.percent ?? 0) / 100));
  show(byId("trial-steps"), now.steps.length > 0);
  keyed(byId("trial-steps"), now.steps, (step) => step.label.id, () => stamp("step-row"), (node, step) => {
    attribute(node, "class", `step ${step.state}`);
    attribute(node, "aria-current", step.state === "now" ? "step" : null);
    text(within(node, ".words"), say(step.label));
    text(within(node, ".said"), say(step.said));
  });
  show(byId("trial-faults"), now.faults.length > 0);
  keyed(byId("trial-faults"), now.faults, (fault) => fault.what.id, () => stamp("fault-row"), (node, fault) => {
    attribute(node, "data-fault", fault.what.id);
    text(within(node, ".what"), say(fault.what));
    text(within(node, ".fix"), say(fault.fix));
  });
  const paths = byId("trial-paths");
  show(paths, now.paths.length > 0);
  keyed(within(paths, "dl"), now.paths, (path) => path.label.id, () => stamp("figure-row"), (node, path) => {
    attribute(node, "data-path", path.label.id);
    text(within(node, "dt"), say(path.label));
    text(within(node, "dd"), say(path.result));
  });
}

/** On the card of a booking. @param {HTMLElement} node @param {import("./bindings.d.ts").OwnCheck | null} now */
export function ownCheck(node, now) {
  show(node, now !== null);
  if (!now) return;
  label(node);
  text(within(node, ".own-line"), `${say(now.text)} ${say(now.fault)}`.trim());
  show(within(node, ".look"), now.fault !== null);
}

/** @param {import("./bindings.d.ts").ReportPart | null} now */
export function report(now) {
  for (const part of document.querySelectorAll(".report")) {
    if (!(part instanceof HTMLElement)) continue;
    show(part, now !== null);
    text(within(part, ".saved"), say(now?.saved));
  }
}
