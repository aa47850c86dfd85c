// The pieces that wait for a label: which comes next, and pictures that are there before they are needed.

import { pages } from "./api.js";

const AHEAD = 4; // pictures fetched before their turn
const LOW = 10; // fewer waiting than this: ask for more
const STALE_MS = 30_000;
const HASTE_MS = 2_000;

/** Pictures as object URLs, fetched once each, forgotten when their piece is. */
export class Pictures {
  #found = new Map();

  /** The URL of a picture. Rejects with an ApiError, and is then tried again when asked again. */
  get(api, id) {
    if (!this.#found.has(id)) {
      const url = api.picture(id).then(URL.createObjectURL);
      this.#found.set(id, url);
      url.catch(() => this.#found.delete(id));
    }
    return this.#found.get(id);
  }

  /** Free what is kept of pieces other than these. */
  keep(ids) {
    for (const [id, url] of this.#found) {
      if (ids.has(id)) continue;
      this.#found.delete(id);
      url.then(URL.revokeObjectURL, () => undefined);
    }
  }
}

/** The queue of one model, or of all. */
export class Pieces {
  #session;
  #wanted = {};
  #waiting = [];
  #settled = new Set(); // labelled or skipped here: not shown again, whatever the monitor's list says
  #recent = []; // pictures of the last few stay, for undo
  #asked = null;
  #askedAt = 0;
  pictures = new Pictures();
  skipped = 0;

  constructor(session) {
    this.#session = session;
  }

  /** The piece to look at now, or undefined. */
  get current() {
    return this.#waiting[0];
  }

  /** Whether the monitor has been asked yet. */
  get asked() {
    return this.#askedAt > 0;
  }

  /** Show the pieces of another model. */
  choose(wanted) {
    this.#wanted = wanted;
    this.#waiting = [];
    this.#askedAt = 0;
    this.#asked = null;
  }

  /** The current piece is done with: labelled or skipped. */
  settle(piece, wasSkipped) {
    this.#waiting = this.#waiting.filter((one) => one.id !== piece.id);
    this.#settled.add(piece.id);
    this.#recent = [piece.id, ...this.#recent].slice(0, 3);
    if (wasSkipped) this.skipped += 1;
  }

  /** Back to the front with it. */
  putBack(piece) {
    this.#settled.delete(piece.id);
    this.#waiting = [piece, ...this.#waiting.filter((one) => one.id !== piece.id)];
  }

  /** After the one on the screen, which stays where it is. */
  putNext(piece) {
    this.#settled.delete(piece.id);
    const [now, ...rest] = this.#waiting.filter((one) => one.id !== piece.id);
    this.#waiting = now ? [now, piece, ...rest] : [piece];
  }

  /** Skipped pieces may come again. */
  forgetSkipped(isLabelled) {
    this.#settled = new Set([...this.#settled].filter(isLabelled));
    this.skipped = 0;
    this.#askedAt = 0;
  }

  /** Ask for more where few are left or the list is old. True if the list is new. Rejects with an ApiError. */
  async fill() {
    if (Date.now() - this.#askedAt < (this.#waiting.length < LOW ? HASTE_MS : STALE_MS)) return false;
    this.#asked ??= this.#ask(this.#wanted).finally(() => (this.#asked = null));
    return this.#asked;
  }

  async #ask(wanted) {
    const found = [];
    const query = { ...wanted, has_image: true, labelled: false, order: "uncertain", limit: 100 };
    for await (const page of pages(this.#session.api, query)) {
      found.push(...page.filter((piece) => !this.#settled.has(piece.id)));
      if (found.length >= LOW) break;
    }
    if (wanted !== this.#wanted) return false;
    // The one that somebody looks at stays where it is, even if its label is given elsewhere meanwhile.
    const [now] = this.#waiting;
    const fresh = found.filter((piece) => piece.id !== now?.id && !this.#settled.has(piece.id));
    this.#waiting = now ? [now, ...fresh] : fresh;
    this.#askedAt = Date.now();
    return true;
  }

  /** Fetch the pictures of the next few; failures show when their turn comes. */
  prefetch() {
    const next = this.#waiting.slice(0, AHEAD + 1).map((piece) => piece.id);
    this.pictures.keep(new Set([...next, ...this.#recent]));
    for (const id of next) this.pictures.get(this.#session.api, id).catch(() => undefined);
  }
}
