// The confusion matrix as a table: a row is what pieces are, a column what they were taken for.

import { el } from "./dom.js";
import { order } from "./classes.js";
import { className, count, percent } from "./format.js";

/** Cells [{label, truth, count}] as a table; null where there are none. */
export function confusionTable(cells, classes) {
  if (!cells.length) return null;
  const names = order(Object.fromEntries(cells.flatMap(({ label, truth }) => [[label, 1], [truth, 1]])));
  const at = new Map(cells.map((cell) => [JSON.stringify([cell.truth, cell.label]), cell.count]));
  const number = (truth, label) => at.get(JSON.stringify([truth, label])) ?? 0;
  const predicted = names.filter((label) => cells.some((cell) => cell.label === label));
  return el(
    "table",
    { class: "confusion" },
    el("caption", { class: "faint" }, "Rows: what the piece is, by its label. Columns: what the model predicted. Shades: share of the row."),
    el("thead", {}, head(predicted)),
    el("tbody", {}, names.map((truth) => row(truth, predicted, number, classes))),
    el("tfoot", {}, foot(predicted, classes)),
  );
}

function head(predicted) {
  const top = predicted.map((label) => el("th", { scope: "col" }, className(label)));
  return el("tr", {}, el("th", { scope: "col", class: "corner" }, "is \\ predicted"), top, el("th", { scope: "col" }, "recall"));
}

function row(truth, predicted, number, classes) {
  const total = predicted.reduce((sum, label) => sum + number(truth, label), 0);
  const cells = predicted.map((label) => {
    const cell = el("td", { class: truth === label ? "right" : "wrong", "data-cell": `${truth}/${label}` }, count(number(truth, label)));
    cell.style.setProperty("--heat", total ? number(truth, label) / total : 0);
    if (!number(truth, label)) cell.classList.add("none");
    return cell;
  });
  const recall = classes.find((one) => one.label === truth)?.recall ?? null;
  return el("tr", {}, el("th", { scope: "row" }, className(truth)), cells, el("td", { class: "margin" }, percent(recall, 1)));
}

function foot(predicted, classes) {
  const precision = (label) => classes.find((one) => one.label === label)?.precision ?? null;
  const cells = predicted.map((label) => el("td", { class: "margin" }, percent(precision(label), 1)));
  return el("tr", {}, el("th", { scope: "row" }, "precision"), cells, el("td", { class: "margin" }));
}
