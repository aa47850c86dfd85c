// Who is at this device: a token and a name, kept in this tab's sessionStorage and nowhere else.

import { Api, ApiError } from "./api.js";
import { byId, el, say } from "./dom.js";

const KEY = "puzzle-monitor";
const TOKEN = /^[A-Za-z0-9._~+/=-]{20,}$/;
const NAME = /^[^\x00-\x1f\x7f]{1,128}$/;

/** A signed-in person. */
export class Session {
  #roles;
  #dialog = null;

  /** `roles`: what a page needs of the token, such as ["read", "feedback"]. */
  constructor(roles) {
    this.#roles = roles;
    const kept = JSON.parse(sessionStorage.getItem(KEY) ?? "{}");
    this.name = kept.name ?? "";
    this.token = kept.token ?? "";
    this.api = new Api(this.token);
    byId("sign-out").addEventListener("click", () => this.#signOut());
    this.#show();
  }

  /** Resolves when somebody with a good token is there; asks for one where needed, `reason` in the dialog. */
  async begin() {
    if (!this.token) return this.ask("");
    try {
      await this.#check(this.api);
    } catch (error) {
      if (error.unauthorised) return this.ask(error.message);
      // The monitor is away: the page will say so, and the token may well be good.
    }
  }

  /** Show the dialog, once, until a token is accepted. */
  ask(reason) {
    this.#dialog ??= this.#open(reason).finally(() => (this.#dialog = null));
    return this.#dialog;
  }

  async #check(api) {
    const found = await api.get("v1/token");
    const missing = this.#roles.filter((role) => !found.roles.includes(role));
    if (missing.length) {
      const fix = "Sign in with a token that has it, or ask whoever runs the monitor to add it.";
      throw new ApiError(403, `Token ‘${found.name}’ lacks the role ${missing.join(" and ")}, which this page needs. ${fix}`);
    }
  }

  #open(reason) {
    const { dialog, form, name, token, fault, button } = signInDialog(this.name, this.#roles);
    say(fault, reason);
    document.body.append(dialog);
    let accepted = false;
    dialog.addEventListener("close", () => accepted || dialog.showModal()); // the Escape key leads nowhere
    dialog.showModal();
    return new Promise((resolve) => {
      form.addEventListener("submit", async (event) => {
        event.preventDefault();
        button.disabled = true;
        const problem = await this.#tryOut(name.value.trim(), token.value.trim());
        button.disabled = false;
        say(fault, problem);
        if (problem) return;
        accepted = true;
        dialog.close();
        dialog.remove();
        resolve();
      });
    });
  }

  /** Sign in with these, or the sentence why not. */
  async #tryOut(name, token) {
    if (!NAME.test(name)) return "Say who you are: the name goes into the record of every label.";
    if (!TOKEN.test(token)) return "This is not a token: it has at least 20 letters, digits or ._~+/=-, and no spaces.";
    const api = new Api(token);
    try {
      await this.#check(api);
    } catch (error) {
      return error.message;
    }
    Object.assign(this, { name, token, api });
    sessionStorage.setItem(KEY, JSON.stringify({ name, token }));
    this.#show();
    return "";
  }

  #show() {
    say(byId("who"), this.name);
    byId("sign-out").hidden = !this.name;
  }

  #signOut() {
    sessionStorage.removeItem(KEY);
    location.reload();
  }
}

function signInDialog(known, roles) {
  const name = el("input", { id: "sign-name", name: "name", autocomplete: "name", maxlength: 128, required: true });
  name.value = known;
  const token = el("input", { id: "sign-token", name: "token", type: "password", autocomplete: "off", required: true });
  const fault = el("p", { class: "fault", role: "alert", id: "sign-fault" });
  const button = el("button", { class: "primary" }, "Sign in");
  const form = el(
    "form",
    { method: "dialog", novalidate: true },
    el("h2", { id: "sign-title" }, "Sign in"),
    el("p", {}, `This page needs a token of the monitor with the ${roles.length > 1 ? "roles" : "role"} ${roles.join(" and ")}. It is kept until this tab is closed.`),
    el("label", { for: "sign-name" }, "Your name"),
    name,
    el("label", { for: "sign-token" }, "Token"),
    token,
    fault,
    button,
  );
  const dialog = el("dialog", { class: "sign-in", "aria-labelledby": "sign-title" }, form);
  (known ? token : name).setAttribute("autofocus", "");
  return { dialog, form, name, token, fault, button };
}
