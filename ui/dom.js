// Changes the page in place: a node that stays what it is stays the same node, so that neither focus nor an open list
// is lost. Text is only ever set as text.

/** @param {string} id @returns {HTMLElement} */
export function byId(id) {
  const found = document.getElementById(id);
  if (!found) throw new Error(`the page has no #${id}`);
  return found;
}

/** @param {ParentNode} root @param {string} selector @returns {HTMLElement} */
export function within(root, selector) {
  const found = root.querySelector(selector);
  if (!(found instanceof HTMLElement)) throw new Error(`there is no ${selector}`);
  return found;
}

/** Sets a text, and hides the element while it is empty. @param {HTMLElement} element @param {string} value */
export function text(element, value) {
  if (element.textContent !== value) element.textContent = value;
  show(element, value !== "");
}

/** @param {HTMLElement} element @param {boolean} shown */
export function show(element, shown) {
  if (element.hidden === shown) element.hidden = !shown;
}

/** @param {Element} element @param {string} name @param {string | null} value */
export function attribute(element, name, value) {
  if (element.getAttribute(name) === value) return;
  if (value === null) element.removeAttribute(name);
  else element.setAttribute(name, value);
}

/**
 * Makes the children of a list match its items: the same key keeps the same node.
 * @template T
 * @param {HTMLElement} list
 * @param {T[]} items
 * @param {(item: T) => string} key
 * @param {(item: T) => HTMLElement} make
 * @param {(node: HTMLElement, item: T) => void} update
 */
export function keyed(list, items, key, make, update) {
  /** @type {Map<string | undefined, HTMLElement>} */
  const old = new Map();
  for (const node of list.children) if (node instanceof HTMLElement) old.set(node.dataset.key, node);
  const wanted = new Set(items.map(key));
  for (const [name, node] of old) if (name === undefined || !wanted.has(name)) node.remove();
  items.forEach((item, at) => {
    const name = key(item);
    let node = old.get(name);
    if (!node) {
      node = make(item);
      node.dataset.key = name;
    }
    if (list.children[at] !== node) list.insertBefore(node, list.children[at] ?? null);
    update(node, item);
  });
}

/** A copy of a template's one element. @param {string} id @returns {HTMLElement} */
export function stamp(id) {
  const template = byId(id);
  if (!(template instanceof HTMLTemplateElement)) throw new Error(`#${id} is no template`);
  const copy = template.content.firstElementChild?.cloneNode(true);
  if (!(copy instanceof HTMLElement)) throw new Error(`#${id} is empty`);
  return copy;
}
