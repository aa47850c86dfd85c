// The line page: how one model does now, and how it did.

import { chart } from "./chart.js";
import { confusionTable } from "./confusion.js";
import { byId, el, say } from "./dom.js";
import { ago, className, count, counted, hour, percent, score, when } from "./format.js";
import { accuracyHistory, driftHistory, span, unsurePieces, wrongPieces } from "./history.js";
import { modelKey, models, offer, remember } from "./models.js";
import { Pictures } from "./pieces.js";
import { Session } from "./session.js";
import { versionCard, versionName, versionsOf } from "./versions.js";

const POLL_MS = 30_000;
const THUMBNAILS = 8;
const CHARTED = 4; // versions with a colour of their own
const PHASES = {
  Collecting: "Collecting pictures before it can judge",
  None: "No drift",
  Suspected: "Drift suspected, not confirmed yet",
  Confirmed: "Drift confirmed",
};

class Line {
  #session = new Session(["read"]);
  #pictures = new Pictures();
  #models = [];
  #round = 0;

  async begin() {
    for (const id of ["model", "window"]) byId(id).addEventListener("change", () => this.#refresh());
    await this.#session.begin();
    await this.#refresh();
    setInterval(() => document.hidden || this.#refresh(), POLL_MS);
  }

  async #refresh() {
    const round = (this.#round += 1);
    try {
      this.#models = await models(this.#session.api);
      offer(byId("model"), this.#models);
      const model = this.#models.find((one) => modelKey(one) === byId("model").value);
      if (!model) return this.#showNothing();
      remember(modelKey(model));
      const facts = await this.#ask(model, byId("window").value);
      if (round === this.#round) this.#show(model, facts);
    } catch (error) {
      this.#failed(error);
    }
  }

  async #ask({ namespace, model, state }, window) {
    const api = this.#session.api;
    const wanted = { namespace, model };
    const drifting = (state?.drift ?? []).map((one) => one.version);
    const [report, history, wrong, unsure, ...drift] = await Promise.all([
      api.get("v1/accuracy", { ...wanted, window }),
      accuracyHistory(api, wanted, window),
      wrongPieces(api, wanted, window, THUMBNAILS),
      unsurePieces(api, wanted, window, THUMBNAILS),
      ...drifting.map((version) => driftHistory(api, wanted, version, window)),
    ]);
    const until = api.now();
    return { report, history, wrong, unsure, drift: new Map(drifting.map((one, n) => [one, drift[n]])), times: [until - span(window), until] };
  }

  #show(model, facts) {
    const versions = versionsOf(facts.report, model.settings);
    say(byId("title"), modelKey(model));
    say(byId("subtitle"), subtitle(model, versions));
    byId("versions").replaceChildren(...versions.filter((one) => one.role !== "other" || one.predictions).map((one) => versionCard(one, facts.report.predictions)));
    showAccuracy(facts, versions);
    showDrift(model, facts, versions);
    showInput(model);
    showConfusion(facts.report);
    this.#showPieces("wrong", facts.wrong, "No labelled piece with a picture was wrong.");
    this.#showPieces("unsure", facts.unsure, "No pictures were kept.");
    this.#pictures.keep(new Set([...facts.wrong, ...facts.unsure].map((piece) => piece.id)));
    byId("notice").hidden = true;
    say(byId("asked"), `as of ${hour(Date.now())}`);
  }

  #showNothing() {
    say(byId("title"), "No model yet");
    say(byId("subtitle"), "The monitor has neither settings nor records of any model; both arrive by themselves once one serves.");
  }

  #showPieces(id, pieces, none) {
    // Drawn only when it differs: a link that somebody is about to follow stays.
    const now = JSON.stringify(pieces.map((piece) => [piece.id, piece.truth]));
    if (byId(id).dataset.pieces === now) return;
    byId(id).dataset.pieces = now;
    const items = pieces.map((piece) => this.#thumbnail(piece));
    byId(id).replaceChildren(...(items.length ? items : [el("li", { class: "faint" }, none)]));
  }

  #thumbnail(piece) {
    const image = el("img", { alt: "", width: 128, height: 128 });
    this.#pictures.get(this.#session.api, piece.id).then(
      (url) => (image.src = url),
      () => image.replaceWith(el("span", { class: "gone faint" }, "picture not available")),
    );
    const said = `${className(piece.label)}, ${percent(piece.confidence)} sure`;
    const truth = piece.truth ? `is ${className(piece.truth)}, says ${piece.truth_by}` : "without a label";
    const link = `review?piece=${encodeURIComponent(piece.id)}`;
    return el("li", {}, el("a", { href: link, "data-piece": piece.id }, image, el("span", {}, said), el("span", { class: "faint" }, truth)));
  }

  #failed(error) {
    if (error.passing === undefined) throw error;
    if (error.unauthorised) {
      this.#session.ask(error.message).then(() => this.#refresh());
      return;
    }
    byId("notice").hidden = false;
    say(byId("notice"), `${error.message} What is shown is as of the last answer; it is asked again by itself.`);
  }
}

function subtitle({ settings }, versions) {
  if (!settings) return "The operator has told the monitor nothing about this model: versions are shown without a role.";
  const canary = versions.find((one) => one.role === "challenger");
  return `${settings.line} · ${canary ? "a canary is out" : "no canary is out"}`;
}

function showAccuracy({ report, history, times }, versions) {
  const series = versions.slice(0, CHARTED).map((one) => ({
    name: versionName(one),
    tone: one.tone,
    points: (history.find(({ version }) => version === one.version)?.points ?? []).map((point) => ({
      at: point.at,
      value: point.accuracy,
      note: `${counted(point.labelled, "label")}, ${count(point.wrong)} wrong`,
    })),
  }));
  const values = series.flatMap(({ points }) => points.map((point) => point.value)).filter((value) => value !== null);
  const text = report.labelled
    ? `${percent(report.accuracy, 1)} of ${counted(report.labelled, "labelled piece")} right; ${count(report.wrong)} wrong.`
    : "No piece of this time has a label yet, so accuracy is unknown.";
  say(byId("accuracy-text"), text);
  const low = Math.max(0, Math.floor((Math.min(1, ...values) - 0.02) * 10) / 10);
  const y = { low, high: 1, format: (share) => percent(share, 0) };
  const label = `Accuracy by version over time. ${text}`;
  draw(byId("accuracy-chart"), values.length ? chart({ series, y, span: times, label, value: "Accuracy" }) : null);
}

function showDrift({ state }, { drift, times }, versions) {
  const reports = state?.drift ?? [];
  const none = el("p", { class: "sentence" }, "Nothing watches this model for drift.");
  byId("drift-text").replaceChildren(...(reports.length ? reports.map((one) => driftSentence(one, versions)) : [none]));
  const series = reports.flatMap((one) => driftSeries(one, drift.get(one.version) ?? [], versions));
  const values = series.flatMap(({ points }) => points.map((point) => point.value)).filter((value) => value !== null);
  const y = { low: Math.min(0, ...values), high: Math.max(...values) * 1.1, format: score };
  const label = "Drift score of each version over time against its threshold.";
  draw(byId("drift-chart"), values.length ? chart({ series, y, span: times, label, value: "Score" }) : null);
}

/** A new chart in the place of the old one, its table as open as it was. */
function draw(place, figure) {
  const open = place.querySelector("details")?.open ?? false;
  place.replaceChildren(...(figure ? [figure] : []));
  if (figure) figure.querySelector("details").open = open;
}

function driftSentence(report, versions) {
  const version = versions.find((one) => one.version === report.version) ?? { role: "other", version: report.version };
  const numbers = `score ${score(report.score)}, threshold ${score(report.threshold)}, ${counted(report.images, "picture")}, ${report.detector} (${report.backend})`;
  return el(
    "div",
    { class: `drift phase-${report.phase.toLowerCase()}`, "data-phase": report.phase },
    el("p", {}, el("strong", {}, PHASES[report.phase] ?? report.phase), report.harmful === "Yes" && el("span", { class: "harm" }, " and harmful"), ` · ${versionName(version)}`),
    el("p", {}, report.message),
    el("p", { class: "faint" }, numbers, report.since ? `, since ${when(report.since)}` : ""),
  );
}

function driftSeries(report, history, versions) {
  const version = versions.find((one) => one.version === report.version) ?? { role: "other", version: report.version, tone: 3 };
  const points = (name) => history.map((one) => ({ at: one.at, value: one[name], note: `${counted(one.images, "picture")}, ${one.phase}` }));
  const name = versionName(version);
  return [
    { name, tone: version.tone, points: points("score") },
    { name: `threshold of ${name}`, tone: version.tone, dashed: true, points: points("threshold") },
  ];
}

function showInput({ state }) {
  const input = state?.input;
  const problems = input?.problems ?? [];
  const health = { true: "Healthy.", false: counted(problems.length, "problem") + ".", null: "Not judged yet." };
  say(byId("input-text"), input ? `${health[input.healthy]} ${input.message}` : "Nothing watches this model's input.");
  byId("input-problems").replaceChildren(
    ...problems.map((one) => el("li", {}, el("strong", {}, one.kind), ` ${one.message} `, el("span", { class: "faint" }, `since ${when(one.since)}`))),
  );
  const last = input?.last_image_at ? `, the last ${ago(input.last_image_at)}` : "";
  say(byId("input-count"), input ? `${counted(input.images, "picture")}${last}` : "");
}

function showConfusion({ confusion, classes, labelled }) {
  const table = confusionTable(confusion, classes);
  byId("confusion").replaceChildren(...(table ? [table] : []));
  say(byId("confusion-text"), table ? `${counted(labelled, "labelled piece")} of all versions.` : "No piece of this time has a label yet.");
}

new Line().begin();
