// The monitor's API, asked with a token. Every failure is an ApiError whose message is a sentence for the person.

const ROOT = new URL("../", import.meta.url); // a path before ours, as an ingress may add, is kept
const PATIENCE_MS = 20_000;

/** What went wrong. Status 0: no answer at all. */
export class ApiError extends Error {
  constructor(status, sentence, retryAfter = null) {
    super(sentence);
    this.status = status;
    this.retryAfter = retryAfter;
  }

  /** The token is the reason: nothing will work until somebody signs in again. */
  get unauthorised() {
    return this.status === 401 || this.status === 403;
  }

  /** The same request may succeed later. */
  get passing() {
    return this.status === 0 || this.status === 408 || this.status === 429 || this.status >= 500;
  }
}

const FIXES = {
  0: "Check that this device is on the network.",
  401: "Sign in with a token from the monitor's Secret; whoever runs the monitor has it.",
  403: "Sign in with a token that has it, or ask whoever runs the monitor to add it.",
};

/** Calls with one token. Knows how far this device's clock is from the monitor's. */
export class Api {
  #token;
  #skew = 0;

  constructor(token) {
    this.#token = token;
  }

  /** Now, by the monitor's clock: labels of a tablet whose clock is wrong must not outlive corrections. */
  now() {
    return Date.now() + this.#skew;
  }

  /** GET as JSON. Parameters that are null are left out. */
  async get(path, parameters = {}) {
    return (await this.#ask("GET", path, parameters)).json();
  }

  /** POST of JSON. */
  async post(path, body) {
    return (await this.#ask("POST", path, {}, body)).json();
  }

  /** The picture of a prediction as a Blob. */
  async picture(id) {
    return (await this.#ask("GET", `v1/predictions/${encodeURIComponent(id)}/image`)).blob();
  }

  async #ask(method, path, parameters = {}, body = undefined) {
    const url = new URL(path, ROOT);
    for (const [name, value] of Object.entries(parameters)) {
      if (value !== null && value !== undefined && value !== "") url.searchParams.set(name, value);
    }
    const headers = { Authorization: `Bearer ${this.#token}` };
    if (body !== undefined) headers["Content-Type"] = "application/json";
    let answer;
    try {
      answer = await fetch(url, {
        method,
        headers,
        body: body === undefined ? undefined : JSON.stringify(body),
        cache: "no-store",
        signal: AbortSignal.timeout(PATIENCE_MS),
      });
    } catch {
      throw new ApiError(0, `The monitor does not answer. ${FIXES[0]}`);
    }
    this.#setClock(answer);
    if (!answer.ok) throw await refusal(answer);
    return answer;
  }

  #setClock(answer) {
    const theirs = Date.parse(answer.headers.get("Date") ?? "");
    // The header has whole seconds; a smaller difference is none.
    if (!Number.isNaN(theirs)) this.#skew = Math.abs(theirs - Date.now()) > 2_000 ? theirs - Date.now() : 0;
  }
}

async function refusal(answer) {
  let detail = `the monitor answered ${answer.status}`;
  try {
    detail = (await answer.json()).detail ?? detail;
  } catch {
    // A proxy on the way answers with a page of its own; the status has to do.
  }
  const sentence = `${detail[0].toUpperCase()}${detail.slice(1)}.`.replace(/\.\.$/, ".");
  const wait = Number(answer.headers.get("Retry-After"));
  return new ApiError(answer.status, [sentence, FIXES[answer.status]].filter(Boolean).join(" "), wait || null);
}

/** Every page of a list until `enough` says so: yields predictions. */
export async function* pages(api, parameters) {
  let cursor = null;
  do {
    const page = await api.get("v1/predictions", { ...parameters, cursor });
    yield page.predictions;
    cursor = page.next;
  } while (cursor !== null);
}
