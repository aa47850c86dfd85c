// Lines over time as SVG: axes, a legend, one line for each series, and the same numbers as a table below.

import { el, svg } from "./dom.js";
import { date, hour, when } from "./format.js";

const HEIGHT = 220;
const MARGIN = { top: 12, right: 14, bottom: 26, left: 50 };
const MINUTE = 60_000;
const STEPS = [1, 5, 15, 30, 60, 180, 360, 720, 1440, 2880, 10_080].map((minutes) => minutes * MINUTE);
const TABLE_ROWS = 200;

/**
 * A chart that fills its place and follows its width.
 *
 * `series`: [{name, tone, dashed, points: [{at: ms, value: number|null, note}]}]; a null value breaks the line.
 * `y`: {low, high, format}; `span`: [from, until] in ms; `label`: what it shows, in one sentence.
 */
export function chart({ series, y, span, label, value }) {
  const place = el("div", { class: "plot" });
  const draw = (width) => place.replaceChildren(drawing({ series, y, span, label, width: Math.max(280, width) }));
  new ResizeObserver(([entry]) => requestAnimationFrame(() => draw(entry.contentRect.width))).observe(place);
  return el("figure", { class: "chart" }, place, legend(series), table(series, y, value));
}

function drawing({ series, y, span, label, width }) {
  const inner = { width: width - MARGIN.left - MARGIN.right, height: HEIGHT - MARGIN.top - MARGIN.bottom };
  const [from, until] = span;
  const x = (at) => MARGIN.left + ((at - from) / (until - from)) * inner.width;
  const high = y.high > y.low ? y.high : y.low + 1;
  const up = (number) => MARGIN.top + (1 - (number - y.low) / (high - y.low)) * inner.height;
  return svg(
    "svg",
    { viewBox: `0 0 ${width} ${HEIGHT}`, width, height: HEIGHT, role: "img", "aria-label": label },
    rows(y.low, high, up, width, y.format),
    columns(from, until, x, inner.width),
    series.map((one) => line(one, x, up, y.format)),
  );
}

function rows(low, high, up, width, format) {
  return ticks(low, high).map((number) =>
    svg(
      "g",
      { class: "row" },
      svg("line", { x1: MARGIN.left, x2: width - MARGIN.right, y1: up(number), y2: up(number) }),
      svg("text", { x: MARGIN.left - 8, y: up(number) + 4, "text-anchor": "end" }, format(number)),
    ),
  );
}

function columns(from, until, x, width) {
  const wanted = Math.max(2, Math.floor(width / 90));
  const step = STEPS.find((one) => (until - from) / one <= wanted) ?? STEPS.at(-1);
  const write = step >= 1440 * MINUTE ? date : hour;
  const offset = new Date(from).getTimezoneOffset() * MINUTE; // days begin at midnight here, not in Greenwich
  const times = [];
  for (let at = Math.ceil((from - offset) / step) * step + offset; at <= until; at += step) times.push(at);
  return times.map((at) =>
    svg("text", { class: "column", x: x(at), y: HEIGHT - 6, "text-anchor": "middle" }, write(at)),
  );
}

/** Round numbers between two: 1, 2 or 5 times a power of ten apart. */
export function ticks(low, high) {
  const rough = (high - low) / 4;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((factor) => factor * power).find((one) => one >= rough * 0.999);
  const found = [];
  for (let n = Math.ceil(low / step - 1e-9); n * step <= high * (1 + 1e-9); n += 1) found.push(Number((n * step).toPrecision(6)));
  return found;
}

function line({ name, tone, dashed, points }, x, up, format) {
  const known = points.filter((point) => point.value !== null);
  const dots = dashed || known.length > 80 ? [] : known.map((point) => dot(name, point, x, up, format));
  return svg("g", { class: `series tone-${tone}${dashed ? " dashed" : ""}` }, svg("path", { d: path(points, x, up) }), dots);
}

function dot(name, point, x, up, format) {
  const text = [name, when(point.at), format(point.value), point.note].filter(Boolean).join(", ");
  return svg("circle", { cx: x(point.at).toFixed(1), cy: up(point.value).toFixed(1), r: 3 }, svg("title", {}, text));
}

function path(points, x, up) {
  let pen = false;
  const parts = [];
  for (const { at, value } of points) {
    if (value !== null) parts.push(`${pen ? "L" : "M"}${x(at).toFixed(1)} ${up(value).toFixed(1)}`);
    pen = value !== null;
  }
  return parts.join("");
}

function legend(series) {
  const key = (one) => svg("svg", { width: 22, height: 10, "aria-hidden": "true", class: `series tone-${one.tone}${one.dashed ? " dashed" : ""}` }, svg("path", { d: "M1 5H21" }));
  return el("ul", { class: "legend" }, series.map((one) => el("li", {}, key(one), one.name)));
}

/** The same for those who cannot see it, or want the numbers. */
function table(series, y, value = "Value") {
  const rows = series
    .filter((one) => !one.dashed)
    .flatMap((one) => one.points.filter((point) => point.value !== null).map((point) => ({ ...point, name: one.name })))
    .sort((a, b) => b.at - a.at)
    .slice(0, TABLE_ROWS);
  const head = ["Time", "Version", value, ""].map((text) => el("th", { scope: "col" }, text));
  const body = rows.map((row) =>
    el("tr", {}, [when(row.at), row.name, y.format(row.value), row.note ?? ""].map((text) => el("td", {}, text))),
  );
  return el("details", {}, el("summary", {}, "As a table"), el("div", { class: "scroll" }, el("table", {}, el("thead", {}, el("tr", {}, head)), el("tbody", {}, body))));
}
