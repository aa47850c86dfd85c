// The versions of a model: which role each has now, and how well it did.

import { el } from "./dom.js";
import { count, counted, interval, percent, shortVersion } from "./format.js";

/** Versions seen or named, the champion first: {version, role, tone, revisions, predictions, labelled, wrong, accuracy}. */
export function versionsOf(report, settings) {
  const found = new Map();
  const at = (version) => {
    if (!found.has(version)) found.set(version, { version, revisions: [], predictions: 0, labelled: 0, wrong: 0 });
    return found.get(version);
  };
  for (const named of [settings?.champion, settings?.challenger]) if (named) at(named);
  for (const one of report.revisions) {
    const version = at(one.version);
    version.revisions.push(one.revision);
    for (const name of ["predictions", "labelled", "wrong"]) version[name] += one[name];
  }
  const rank = { champion: 0, challenger: 1, other: 2 };
  return [...found.values()]
    .map((one) => ({ ...one, role: role(one.version, settings), accuracy: one.labelled ? 1 - one.wrong / one.labelled : null }))
    .sort((a, b) => rank[a.role] - rank[b.role] || b.predictions - a.predictions)
    .map((one, index) => ({ ...one, tone: Math.min(index, 3) }));
}

function role(version, settings) {
  if (version === settings?.champion) return "champion";
  return version === settings?.challenger ? "challenger" : "other";
}

/** A name for the legend: role and digits. */
export const versionName = ({ role, version }) => (role === "other" ? shortVersion(version) : `${role} ${shortVersion(version)}`);

/** One card. `total`: predictions of all versions, for its share of the traffic. */
export function versionCard(one, total) {
  const bounds = interval(one.labelled - one.wrong, one.labelled);
  const range = bounds ? `between ${percent(bounds[0], 1)} and ${percent(bounds[1], 1)} with 95 % confidence` : "no piece of it has a label yet";
  return el(
    "article",
    { class: `card version tone-${one.tone}`, "data-version": one.version },
    el("h3", {}, one.role === "other" ? "Version" : one.role === "champion" ? "Champion" : "Challenger, the present canary"),
    el("p", { class: "digest", title: one.version }, shortVersion(one.version)),
    el("p", { class: "figure" }, el("strong", {}, percent(one.accuracy, 1)), el("span", {}, " accurate")),
    el("p", { class: "faint" }, range),
    el("p", { class: "faint" }, `${counted(one.labelled, "label")}, ${count(one.wrong)} wrong, of ${counted(one.predictions, "piece")}`, total ? ` (${percent(one.predictions / total)} of the line)` : ""),
    el("p", { class: "faint revisions" }, one.revisions.join(", ")),
  );
}
