// The two ways to the shell: asking it for something, and hearing from it. Tauri injects `__TAURI_INTERNALS__`.

/**
 * @typedef {object} Internals
 * @property {(command: string, args: object) => Promise<unknown>} invoke
 * @property {(callback: (message: {payload: any}) => void) => number} transformCallback
 * @property {{currentWindow: {label: string}}} metadata
 */

const internals = /** @type {{__TAURI_INTERNALS__: Internals}} */ (/** @type {unknown} */ (window)).__TAURI_INTERNALS__;

/** `main` or `incoming`. */
export const windowLabel = internals.metadata.currentWindow.label;

/** Sends one request to the shell; what comes of it is seen in the next view. @param {string} command @param {object} [args] */
export function ask(command, args = {}) {
  internals.invoke(command, args).catch((fault) => console.warn(`${command}: ${fault}`));
}

/** @template T @param {string} event @param {(payload: T) => void} handle @returns {Promise<unknown>} */
export function listen(event, handle) {
  const target = { kind: "WebviewWindow", label: windowLabel };
  const handler = internals.transformCallback((message) => handle(message.payload));
  return internals.invoke("plugin:event|listen", { event, target, handler });
}
