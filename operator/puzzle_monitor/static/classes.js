// The classes of a piece as buttons: key, name, and how probable the model finds it, in one row each.

import { byId, el } from "./dom.js";
import { className, percent } from "./format.js";

const KEYS = "123456789qwertyiopadfghjklzxcvbm"; // without n, s and u: something else, skip, undo
const FINE = "ok";

/** Classes in an order that never changes between pieces of a model: a key always means the same. */
export function order(probabilities) {
  return Object.keys(probabilities).sort((a, b) => (b === FINE) - (a === FINE) || a.localeCompare(b));
}

/** The buttons of the piece that is shown. `choose(label)` is called for a touch. */
export class Classes {
  #box = byId("classes");
  #choose;
  #labels = [];
  #focused = null;

  constructor(choose) {
    this.#choose = choose;
  }

  /** Show a piece's classes, or none. */
  show(piece) {
    // Whoever goes by the tab key stays at the same class, though its button is another one for each piece.
    if (this.#box.contains(document.activeElement)) this.#focused = document.activeElement.dataset.label;
    this.#labels = piece ? order(piece.probabilities) : [];
    this.#box.replaceChildren(...this.#labels.map((label, index) => this.#row(piece, label, KEYS[index])));
    this.enable(false);
  }

  /** Let them be pressed, or not. */
  enable(yes) {
    for (const button of this.#box.children) {
      button.disabled = !yes;
      if (yes && button.dataset.label === this.#focused && document.activeElement === document.body) button.focus();
    }
    if (yes) this.#focused = null;
  }

  /** The class that a key stands for, or undefined. */
  ofKey(key) {
    const index = KEYS.indexOf(key.toLowerCase());
    return index < 0 || key.length !== 1 ? undefined : this.#labels[index];
  }

  #row(piece, label, key) {
    const share = piece.probabilities[label];
    const bar = el("span", { class: "share" });
    bar.style.setProperty("--share", share);
    const predicted = label === piece.label;
    return el(
      "button",
      {
        class: predicted ? "class predicted" : "class",
        "data-label": label,
        "aria-keyshortcuts": key,
        onclick: () => this.#choose(label),
      },
      key ? el("kbd", { "aria-hidden": "true" }, key.toUpperCase()) : el("span"),
      el("span", { class: "name" }, className(label), predicted && el("span", { class: "tag" }, "predicted")),
      el("span", { class: "number" }, percent(share, share > 0 && share < 0.1 ? 1 : 0)),
      bar,
    );
  }
}

/** Ask for the name of a class that the model does not know; resolves to it, or to null. */
export function askForClass() {
  const dialog = byId("other");
  const input = byId("other-name");
  input.value = "";
  dialog.returnValue = "";
  dialog.showModal();
  return new Promise((resolve) => {
    const close = () => {
      dialog.removeEventListener("close", close);
      resolve(dialog.returnValue === "give" ? input.value.trim() || null : null);
    };
    dialog.addEventListener("close", close);
  });
}
