// The review page: shows the piece that the model is least sure of, takes its label by one key or one touch.

import { Classes, askForClass } from "./classes.js";
import { byId, el, say } from "./dom.js";
import { ago, className, counted, percent, shortVersion, when } from "./format.js";
import { modelKey, models, offer, remember } from "./models.js";
import { Outbox } from "./outbox.js";
import { Pieces } from "./pieces.js";
import { showProgress } from "./progress.js";
import { Session } from "./session.js";

const POLL_MS = 10_000;
const AGAIN_MS = 2_000;
const COUNT_MS = 30_000; // how old the list of models and the counts may be
const SOON_MS = 1_000; // counts follow labels, a few of them together
const GLANCE_MS = 150; // nobody judges a picture faster: a press so soon was meant for the piece before
const LATEST = 6;

class Review {
  #session = new Session(["read", "feedback"]);
  #pieces = new Pieces(this.#session);
  #outbox = new Outbox((entry) => this.#send(entry));
  #classes = new Classes((label) => this.#label(label));
  #given = []; // labels of this visit, oldest first
  #models = [];
  #shown = null; // the piece on the screen
  #open = false; // whether it may be labelled now
  #lastAt = 0;
  #notices = new Map();
  #listedAt = 0;
  #countSoon = null;
  #chosen = ""; // the model; none is all of them

  async begin() {
    this.#listen();
    await this.#session.begin();
    await this.#count(); // first, because it knows the model that the address names
    await this.#named(new URLSearchParams(location.search).get("piece"));
    await this.#fill();
    setInterval(() => document.hidden || this.#fill(), POLL_MS);
    setInterval(() => document.hidden || this.#count(), COUNT_MS);
  }

  // ------------------------------------------------------------ what the person does

  #label(label) {
    const piece = this.#shown;
    if (!this.#open || !piece) return;
    // Of two labels the newer `at` counts: never the same time twice.
    this.#lastAt = Math.max(this.#session.api.now(), this.#lastAt + 1);
    const entry = { kind: "label", piece, label, who: this.#session.name, at: new Date(this.#lastAt).toISOString() };
    this.#given.push(entry);
    this.#notice("refused", "");
    this.#pieces.settle(piece, false);
    this.#outbox.add(entry);
    this.#next(`${className(label)}.`);
  }

  #skip() {
    if (!this.#shown) return;
    this.#pieces.settle(this.#shown, true);
    this.#next("Skipped.");
  }

  #undo() {
    const entry = this.#given.findLast((one) => !one.undone);
    if (!entry) return;
    entry.undone = true;
    if (!this.#outbox.withdraw(entry)) this.#outbox.add({ kind: "retract", of: entry });
    this.#pieces.putBack(entry.piece);
    this.#next(`Took back ${className(entry.label)}.`);
  }

  async #other() {
    if (!this.#open) return;
    const piece = this.#shown;
    const label = await askForClass();
    if (label && this.#shown === piece) this.#label(label);
  }

  #key(event) {
    if (event.repeat || event.ctrlKey || event.metaKey || event.altKey || document.querySelector("dialog[open]")) return;
    if (event.target.closest("select, input, textarea")) return;
    const label = this.#classes.ofKey(event.key);
    const action = { s: () => this.#skip(), u: () => this.#undo(), n: () => this.#other() }[event.key.toLowerCase()];
    if (label === undefined && !action) return;
    event.preventDefault();
    if (action) action();
    else this.#label(label);
  }

  // ------------------------------------------------------------ what is shown

  #next(spoken) {
    this.#show();
    const next = this.#shown ? `Next: the model says ${className(this.#shown.label)}.` : "No piece is waiting.";
    say(byId("spoken"), `${spoken} ${next}`);
    this.#fill();
  }

  #show() {
    const piece = this.#pieces.current ?? null;
    byId("undo").disabled = !this.#given.some((one) => !one.undone);
    this.#showLatest();
    if (piece === this.#shown && piece) return;
    this.#shown = piece;
    this.#open = false;
    byId("skip").disabled = byId("other-open").disabled = !piece;
    this.#classes.show(piece);
    byId("picture").hidden = true;
    say(byId("caption"), piece ? caption(piece) : "");
    this.#showVerdict(piece);
    if (!piece) this.#showEmpty();
    else this.#showPicture(piece);
    this.#pieces.prefetch();
  }

  #showVerdict(piece) {
    const says = piece ? `The model says ${className(piece.label)}, ${percent(piece.confidence)} sure.` : "";
    const known = piece?.truth ? ` ${piece.truth_by} labelled it ${className(piece.truth)}; your label replaces that.` : "";
    say(byId("verdict"), says + known);
  }

  /** Somebody else may have labelled it since the list was asked for. */
  async #lookAgain(piece) {
    try {
      const now = await this.#session.api.get(`v1/predictions/${encodeURIComponent(piece.id)}`);
      if (piece === this.#shown && !this.#given.some((one) => one.piece === piece)) this.#showVerdict(now);
    } catch (error) {
      if (error.passing === undefined) throw error; // a courtesy: that the monitor is away is said elsewhere
    }
  }

  #showEmpty() {
    if (!this.#pieces.asked) return say(byId("placeholder"), "Asking for pieces …");
    const { skipped } = this.#pieces;
    const again = el("button", { onclick: () => this.#bringBack() }, "Show skipped pieces again");
    byId("placeholder").replaceChildren("No piece is waiting for a label. New ones appear here by themselves.", skipped ? again : "");
  }

  #bringBack() {
    const labelled = new Set(this.#given.filter((one) => !one.undone).map((one) => one.piece.id));
    this.#pieces.forgetSkipped((id) => labelled.has(id));
    this.#fill();
  }

  async #showPicture(piece) {
    const picture = byId("picture");
    say(byId("placeholder"), "Loading the picture …");
    try {
      picture.src = await this.#pieces.pictures.get(this.#session.api, piece.id);
      await picture.decode();
    } catch (error) {
      if (piece === this.#shown) this.#pictureFailed(piece, error);
      return;
    }
    if (piece !== this.#shown) return;
    picture.alt = `Piece ${piece.id}`;
    picture.hidden = false;
    say(byId("placeholder"), "");
    setTimeout(() => piece === this.#shown && this.#allow(), GLANCE_MS);
    this.#lookAgain(piece);
  }

  #allow() {
    this.#open = true;
    this.#classes.enable(true);
  }

  #pictureFailed(piece, error) {
    const again = () => piece === this.#shown && this.#showPicture(piece);
    if (error.unauthorised) {
      this.#session.ask(error.message).then(again);
    } else if (error.passing) {
      say(byId("placeholder"), error.message);
      setTimeout(again, AGAIN_MS);
    } else {
      say(byId("placeholder"), `This picture cannot be shown: ${error.message} Skip the piece.`);
    }
  }

  #showLatest() {
    const latest = this.#given.slice(-LATEST).reverse();
    if (latest.length) byId("latest").replaceChildren(...latest.map(latestRow));
  }

  #showSaving() {
    const { state, size, reason } = this.#outbox;
    const text = { saved: "All saved", saving: "Saving …" }[state] ?? `${counted(size, "change")} not saved`;
    byId("save").dataset.state = state;
    say(byId("save"), text);
    const kept = "What you label is kept here and sent by itself: leave this page open.";
    this.#notice("saving", state === "waiting" ? `${reason} ${kept}` : "");
    document.title = `${state === "saved" ? "" : "● "}Review · Puzzle monitor`;
    this.#showLatest();
    if (state === "stopped") this.#session.ask(reason).then(() => this.#outbox.retry());
  }

  /** What is wrong, one sentence of each kind: "saving", "asking", "refused". */
  #notice(kind, sentence) {
    this.#notices.set(kind, sentence);
    const all = [...new Set(this.#notices.values())].filter(Boolean).join(" ");
    byId("notice").hidden = !all;
    say(byId("notice"), all);
  }

  // ------------------------------------------------------------ what the monitor is told and asked

  #send(entry) {
    const { piece, label, who, at } = entry.of ?? entry;
    const body = { prediction_id: piece.id, label, who, at };
    return this.#session.api.post(entry.kind === "retract" ? "v1/feedback/retract" : "v1/feedback", body);
  }

  #sent({ entry, outcome }) {
    entry.saved = true;
    this.#countSoon ??= setTimeout(() => {
      this.#countSoon = null;
      this.#count();
    }, SOON_MS);
    if (outcome.unknown_labels?.length) {
      say(byId("spoken"), `${className(entry.label)} is no class of this model; it is stored as a new one.`);
    }
  }

  /** Refused for good: the piece comes next, never under a finger that means another one. */
  #refused({ entry, outcome }) {
    const given = entry.of ?? entry;
    if (given.refused) return; // there is nothing to take back, and that is what was wanted
    if (entry.kind === "label") {
      given.refused = true;
      if (!given.undone) this.#pieces.putNext(given.piece);
      given.undone = true;
    }
    this.#show();
    const what = entry.kind === "label" ? `The label ${className(given.label)} was` : "Taking back a label was";
    this.#notice("refused", `${what} refused: ${outcome.message}`);
  }

  /** The piece that a link names, labelled or not, before all others. */
  async #named(id) {
    if (!id) return;
    try {
      this.#pieces.putBack(await this.#session.api.get(`v1/predictions/${encodeURIComponent(id)}`));
      this.#show();
    } catch (error) {
      this.#away(error, () => this.#named(id));
    }
  }

  async #fill() {
    try {
      const fresh = await this.#pieces.fill();
      this.#notice("asking", "");
      if (fresh) this.#show();
    } catch (error) {
      this.#away(error, () => this.#fill());
    }
  }

  async #count() {
    try {
      if (Date.now() - this.#listedAt > COUNT_MS / 2) {
        this.#models = await models(this.#session.api);
        this.#listedAt = Date.now();
        offer(byId("model"), this.#models, "All models");
        this.#choose();
      }
      await showProgress(this.#session.api, this.#wanted(), this.#models);
    } catch (error) {
      this.#away(error, () => this.#count());
    }
  }

  #away(error, again) {
    if (error.unauthorised) this.#session.ask(error.message).then(again);
    else if (error.passing === undefined) throw error;
    else if (this.#outbox.state !== "waiting") this.#notice("asking", error.message); // else it is said already
  }

  /** Another model's pieces, if another one is chosen than before. */
  #choose() {
    const value = byId("model").value;
    if (value === this.#chosen) return;
    this.#chosen = value;
    this.#pieces.choose(this.#wanted());
    this.#show();
    this.#fill();
  }

  #wanted() {
    const found = this.#models.find((one) => modelKey(one) === byId("model").value);
    return found ? { namespace: found.namespace, model: found.model } : {};
  }

  #listen() {
    document.addEventListener("keydown", (event) => this.#key(event));
    byId("skip").addEventListener("click", () => this.#skip());
    byId("undo").addEventListener("click", () => this.#undo());
    byId("other-open").addEventListener("click", () => this.#other());
    byId("model").addEventListener("change", ({ target }) => {
      remember(target.value);
      target.blur(); // keys are for labels again
      this.#choose();
      this.#count();
    });
    this.#outbox.addEventListener("change", () => this.#showSaving());
    this.#outbox.addEventListener("sent", ({ detail }) => this.#sent(detail));
    this.#outbox.addEventListener("refused", ({ detail }) => this.#refused(detail));
    addEventListener("online", () => this.#outbox.retry());
    addEventListener("beforeunload", (event) => this.#outbox.size && event.preventDefault());
  }
}

function caption(piece) {
  return `${piece.line} · ${piece.namespace}/${piece.model} · version ${shortVersion(piece.version)} · ${when(piece.at)}`;
}

function latestRow(entry) {
  const state = entry.refused ? "refused" : entry.undone ? "taken back" : entry.saved ? "saved" : "not saved";
  return el(
    "li",
    { class: `is-${state.replace(" ", "-")}` },
    el("span", { class: "name" }, className(entry.label)),
    el("span", { class: "faint" }, ` by ${entry.who}, ${ago(entry.at)} · ${state}`),
  );
}

new Review().begin();
