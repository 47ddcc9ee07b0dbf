// Keys people know from other phones. Accepting and declining need a chord, so that typing elsewhere when a ring window
// comes up answers nothing; Enter and Escape do nothing there unless a button was reached on purpose.
//   Ctrl+Shift+A accept, Ctrl+Shift+D decline, Ctrl+Shift+E end or leave, M or Ctrl+Shift+M mute, hold Space to speak
//   while muted, Ctrl+Shift+T open or close the text, Escape close it, or leave the check

import { ask } from "./shell.js";

/** @typedef {import("./bindings.d.ts").Press} Press */

/** A Space that is held for less than this on the mute button is a press of it. */
const HOLD_MS = 300;

/** @type {Record<string, Press[]>} */
const chords = { KeyA: ["accept"], KeyD: ["decline"], KeyE: ["hang-up", "cancel", "leave"], KeyM: ["mute"], KeyT: ["text"] };

/** @param {(press: Press) => boolean} press presses a button of the bar, if it is there */
export function watchKeys(press) {
  /** When Space went down to speak. @type {number | null} */
  let held = null;

  const release = () => {
    if (held === null) return;
    held = null;
    ask("talk", { held: false });
  };

  document.addEventListener("keydown", (event) => {
    if (event.repeat) {
      if (held !== null && event.code === "Space") event.preventDefault();
      return;
    }
    if (event.ctrlKey && event.shiftKey && !event.altKey && !event.metaKey) {
      const pressed = (chords[event.code] ?? []).some(press);
      if (pressed) event.preventDefault();
      return;
    }
    if (event.ctrlKey || event.altKey || event.metaKey) return;
    if (event.key === "Escape" && !event.isComposing) {
      const leaves = !isTyped(event.target) && press("stop-check");
      if (!leaves) close(event.target);
    }
    if (isTyped(event.target)) return;
    if (event.key.toLowerCase() === "m") {
      if (press("mute")) event.preventDefault();
    } else if (event.code === "Space" && isMuted() && !takesSpace(event.target)) {
      event.preventDefault();
      held = performance.now();
      ask("talk", { held: true });
    }
  });

  document.addEventListener("keyup", (event) => {
    if (event.code !== "Space" || held === null) return;
    event.preventDefault();
    const tapped = performance.now() - held < HOLD_MS;
    const onMute = event.target instanceof Element && event.target.id === "mute";
    release();
    if (tapped && onMute) press("mute");
  });
  window.addEventListener("blur", release);
}

/** Closes what was opened and holds the focus, else the text. @param {EventTarget | null} target */
function close(target) {
  const part = target instanceof Element ? target.closest("#reasons[open], details.confirm[open], #partner[open]") : null;
  if (part) {
    part.removeAttribute("open");
    part.querySelector("summary")?.focus();
  } else if (document.body.dataset.text === "open") {
    ask("open_text", { open: false });
  } else {
    document.getElementById("reasons")?.removeAttribute("open");
  }
}

/** @param {EventTarget | null} target */
function isTyped(target) {
  return target instanceof Element && target.closest("textarea, select, input:not([type=checkbox])") !== null;
}

/** Whether Space presses what has the focus; the mute button tells a tap from a hold itself. @param {EventTarget | null} target */
function takesSpace(target) {
  return target instanceof Element && target.closest("button:not(#mute), summary, input") !== null;
}

function isMuted() {
  return document.querySelector('#mute[aria-pressed="true"]') !== null;
}
