// Numbers, times and names, as people read them.

const whole = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });
const percents = [0, 1, 2].map(
  (digits) => new Intl.NumberFormat("en", { style: "percent", minimumFractionDigits: digits, maximumFractionDigits: digits }),
);
const clock = new Intl.DateTimeFormat("en-GB", { hour: "2-digit", minute: "2-digit" });
const day = new Intl.DateTimeFormat("en-GB", { day: "numeric", month: "short" });
const full = new Intl.DateTimeFormat("en-GB", { day: "numeric", month: "short", hour: "2-digit", minute: "2-digit" });

/** 12,345 */
export const count = (value) => whole.format(value);

/** 1 label, 12,345 labels */
export const counted = (value, one, many = `${one}s`) => `${count(value)} ${value === 1 ? one : many}`;

/** 97.3 %, and a dash for nothing. */
export const percent = (share, digits = 0) =>
  share === null || share === undefined ? "–" : percents[digits].format(share).replace("%", "\u202f%");

/** Three significant digits, for scores and thresholds. */
export const score = (value) => (value === null || value === undefined ? "–" : String(Number(value.toPrecision(3))));

/** 24 Nov, 21:48 in the time zone of the reader. */
export const when = (time) => full.format(new Date(time));
export const hour = (time) => clock.format(new Date(time));
export const date = (time) => day.format(new Date(time));

/** How long ago, in the largest unit that fits. */
export function ago(time, now = Date.now()) {
  const seconds = Math.max(0, Math.round((now - new Date(time).getTime()) / 1000));
  if (seconds < 60) return "just now";
  if (seconds < 3600) return `${counted(Math.floor(seconds / 60), "minute")} ago`;
  if (seconds < 86400) return `${counted(Math.floor(seconds / 3600), "hour")} ago`;
  return `${counted(Math.floor(seconds / 86400), "day")} ago`;
}

/** sha256:abcdef… is known by its first eight digits. */
export function shortVersion(version) {
  const found = /^sha256:([0-9a-f]{8})[0-9a-f]*$/.exec(version);
  return found ? found[1] : version;
}

/** missing_knob is read as "missing knob"; what is sent stays as it is. */
export const className = (label) => label.replaceAll("_", " ");

/** Wilson's 95 % interval of a share: what so few labels allow to say. */
export function interval(right, total) {
  if (!total) return null;
  const z2 = 1.959964 ** 2;
  const share = right / total;
  const middle = (share + z2 / (2 * total)) / (1 + z2 / total);
  const half = (Math.sqrt(z2) * Math.sqrt((share * (1 - share)) / total + z2 / (4 * total * total))) / (1 + z2 / total);
  return [Math.max(0, middle - half), Math.min(1, middle + half)];
}
