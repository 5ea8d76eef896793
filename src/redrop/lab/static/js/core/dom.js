// Elements whose attributes and texts follow signals. A property or child that is a function is
// read again whenever a signal it used changes; `scope` stops all of that when a panel goes away.
import { effect } from "../../vendor/signals-core.js";

let owner = null;

/** Build something; return it with a function that ends every effect and listener made meanwhile. */
export function scope(build) {
  const outer = owner, endings = (owner = []);
  try {
    const root = build();
    return { root, destroy: () => endings.splice(0).forEach((end) => end()) };
  } finally {
    owner = outer;
  }
}

export function onEnd(end) {
  owner?.push(end);
}

export function watch(run) {
  onEnd(effect(run));
}

/** Listen on something that outlives the panel, such as the window. */
export function listen(target, type, handler) {
  target.addEventListener(type, handler);
  onEnd(() => target.removeEventListener(type, handler));
}

function set(element, name, value) {
  if (name === "value" || name === "checked" || name === "disabled" || name === "hidden") element[name] = value;
  else if (value === false || value === null || value === undefined) element.removeAttribute(name);
  else element.setAttribute(name, value === true ? "" : value);
}

function build(element, props, children) {
  for (const [name, value] of Object.entries(props ?? {})) {
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (typeof value === "function") watch(() => set(element, name, value()));
    else set(element, name, value);
  }
  for (const child of children.flat()) {
    if (typeof child === "function") {
      const text = document.createTextNode("");
      watch(() => (text.data = child()));
      element.append(text);
    } else if (child !== null && child !== undefined) element.append(child);
  }
  return element;
}

export const h = (tag, props, ...children) => build(document.createElement(tag), props, children);

export const svg = (tag, props, ...children) =>
  build(document.createElementNS("http://www.w3.org/2000/svg", tag), props, children);

/** Replace an element's children whenever the signals that `make` reads change. */
export function fill(element, make) {
  watch(() => element.replaceChildren(...[make()].flat().filter((child) => child !== null)));
  return element;
}

/** Build what an element holds anew whenever the signals that `make` reads change; the old one ends. */
export function rebuild(element, make) {
  let made = null;
  watch(() => {
    const next = scope(make);
    made?.destroy();
    made = next;
    element.replaceChildren(...[next.root].flat().filter((child) => child !== null));
  });
  onEnd(() => made?.destroy());
  return element;
}
