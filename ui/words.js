// Turns the ids of sentences into words, and moments and lengths of time into text of the reader's language and zone.

import english from "./messages.en.js";

/** @typedef {import("./bindings.d.ts").Sentence} Sentence */
/** @typedef {typeof format} Format */
/**
 * One function for each id, given what the sentence speaks of.
 * @typedef {{[Id in Sentence["id"]]: (s: Extract<Sentence, {id: Id}>, f: Format) => string}} Sentences
 */

const languages = [english];
const locale = knownLocale(navigator.language);
const words = languages.find((each) => locale.startsWith(each.language)) ?? english;

const clock = new Intl.DateTimeFormat(locale, { hour: "numeric", minute: "2-digit" });
const day = new Intl.DateTimeFormat(locale, { weekday: "long", day: "numeric", month: "long" });
const date = new Intl.DateTimeFormat(locale, { day: "numeric", month: "short" });
const unit = (/** @type {string} */ name) => new Intl.NumberFormat(words.language, { style: "unit", unit: name, unitDisplay: "long" });
const units = { second: unit("second"), minute: unit("minute"), hour: unit("hour"), day: unit("day") };

export const format = {
  /** A name in a sentence, its direction kept to itself (Unicode isolates). @param {string} text */
  name: (text) => `\u2068${text}\u2069`,
  /** 14:05 @param {number} at */
  time: (at) => clock.format(at),
  /** 14:05, or with its date if that is not today. @param {number} at */
  moment: (at) => (isToday(at) ? clock.format(at) : `${date.format(at)}, ${clock.format(at)}`),
  /** 14:05 to 14:55 @param {number} from @param {number} to */
  span: (from, to) => clock.formatRange(from, to),
  /** Tuesday 3 March @param {number} at */
  day: (at) => day.format(at),
  /** 4:12 or 1:04:12 @param {number} seconds */
  timer: (seconds) => {
    const parts = [Math.floor(seconds / 3600), Math.floor(seconds / 60) % 60, seconds % 60];
    if (parts[0] === 0) parts.shift();
    return parts.map((part, at) => (at === 0 ? String(part) : String(part).padStart(2, "0"))).join(":");
  },
  /** As a timer within the hour, in hours and days beyond it. @param {number} seconds */
  countdown: (seconds) => (seconds < 3600 ? format.timer(seconds) : format.duration(seconds)),
  /** 12 s within the minute, else as a timer. @param {number} seconds */
  seconds: (seconds) => (seconds < 60 ? `${seconds} s` : format.timer(seconds)),
  /** 12 minutes @param {number} seconds */
  duration: (seconds) => {
    if (seconds < 60) return units.second.format(seconds);
    if (seconds < 3600) return units.minute.format(Math.floor(seconds / 60));
    if (seconds >= 86400) return units.day.format(Math.floor(seconds / 86400));
    const minutes = Math.floor(seconds / 60) % 60;
    const whole = units.hour.format(Math.floor(seconds / 3600));
    return minutes === 0 ? whole : `${whole} ${units.minute.format(minutes)}`;
  },
};

/** What a system without a language says ("C") is no locale, and Intl throws at it. @param {string} wanted */
function knownLocale(wanted) {
  try {
    return Intl.DateTimeFormat.supportedLocalesOf(wanted)[0] ?? english.language;
  } catch {
    return english.language;
  }
}

/** @param {number} at */
function isToday(at) {
  return new Date(at).toDateString() === new Date().toDateString();
}

/** The words of a sentence; nothing for none. @param {Sentence | null | undefined} sentence */
export function say(sentence) {
  if (!sentence) return "";
  const words_of = /** @type {(s: Sentence, f: Format) => string} */ (words.sentences[sentence.id]);
  return words_of(sentence, format).trim();
}

export const language = words.language;

/** Words that never change, by their name. @param {string} name */
export function phrase(name) {
  return words.labels[name] ?? "";
}

/** Fills the words that never change. @template {ParentNode} Root @param {Root} root @returns {Root} */
export function label(root) {
  for (const element of root.querySelectorAll("[data-text]")) {
    element.textContent = phrase(element.getAttribute("data-text") ?? "");
  }
  for (const element of root.querySelectorAll("[data-label]")) {
    element.setAttribute("aria-label", phrase(element.getAttribute("data-label") ?? ""));
  }
  return root;
}
