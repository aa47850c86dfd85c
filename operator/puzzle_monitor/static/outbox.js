// Labels on their way to the monitor, in order, one at a time. What was given is here until the monitor has
// acknowledged it (which means: it is on the monitor's disk) or refused it for good.

const FIRST_WAIT_MS = 500;
const LONGEST_WAIT_MS = 10_000;

/**
 * States: "saved" (nothing here), "saving", "waiting" (will be tried again), "stopped" (the token is refused).
 * Events: "change"; "sent" and "refused" with the entry as detail.
 */
export class Outbox extends EventTarget {
  #entries = [];
  #running = false;
  #wake = null;
  #attempts = 0;
  state = "saved";
  reason = "";

  /** `send(entry)` resolves when the entry is safe; it rejects with an ApiError. */
  constructor(send) {
    super();
    this.send = send;
  }

  get size() {
    return this.#entries.length;
  }

  /** Take an entry, and begin to send. */
  add(entry) {
    this.#entries.push(entry);
    this.#change(this.state === "saved" ? "saving" : this.state);
    this.#run();
  }

  /** Take an entry out again, unless it is being sent or was: true if it is as if it had never been. */
  withdraw(entry) {
    const index = this.#entries.indexOf(entry);
    if (index < 0 || entry.tried) return false;
    this.#entries.splice(index, 1);
    this.#change(this.#entries.length ? this.state : "saved");
    return true;
  }

  /** Try now: the network is back, or somebody has signed in again. */
  retry() {
    if (this.state === "stopped") this.state = "saving";
    this.#attempts = 0;
    this.#wake?.();
    this.#run();
  }

  async #run() {
    if (this.#running) return;
    this.#running = true;
    while (this.#entries.length && this.state !== "stopped") await this.#step(this.#entries[0]);
    this.#running = false;
  }

  async #step(entry) {
    entry.tried = true; // from here on the monitor may have it, whatever we hear
    try {
      const answer = await this.send(entry);
      this.#done(entry, "sent", answer);
    } catch (error) {
      if (error.unauthorised) this.#change("stopped", error.message);
      else if (error.passing) await this.#pause(error);
      else this.#done(entry, "refused", error);
    }
  }

  #done(entry, event, outcome) {
    this.#attempts = 0;
    this.#entries.shift();
    this.dispatchEvent(new CustomEvent(event, { detail: { entry, outcome } }));
    this.#change(this.#entries.length ? "saving" : "saved");
  }

  async #pause(error) {
    const growing = Math.min(LONGEST_WAIT_MS, FIRST_WAIT_MS * 2 ** this.#attempts);
    this.#attempts += 1;
    this.#change("waiting", error.message);
    const wait = Math.max(growing, (error.retryAfter ?? 0) * 1000);
    await new Promise((resolve) => {
      this.#wake = resolve;
      setTimeout(resolve, wait);
    });
    this.#wake = null;
  }

  #change(state, reason = "") {
    this.state = state;
    this.reason = state === "waiting" || state === "stopped" ? reason || this.reason : "";
    this.dispatchEvent(new Event("change"));
  }
}
