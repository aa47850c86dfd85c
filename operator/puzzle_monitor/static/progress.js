// How many labels there are, how many are wanted, and whose they are.

import { byId, say } from "./dom.js";
import { count, counted } from "./format.js";

const PEOPLE_SHOWN = 5;
const DAY_MS = 86_400_000;

/** Ask and show. `wanted` is {namespace, model}, or {} for all models. Rejects with an ApiError. */
export async function showProgress(api, wanted, found) {
  const [labels, people] = await Promise.all([labelCount(api, wanted, found), byPerson(api, wanted)]);
  showCount(labels);
  say(byId("people"), people);
}

/** All labels ever where the operator has told of the model; else those of the pieces of a week, which is cheap to ask. */
async function labelCount(api, wanted, found) {
  const chosen = found.filter((one) => !wanted.model || (one.namespace === wanted.namespace && one.model === wanted.model));
  if (!chosen.length || chosen.some((one) => !one.settings)) {
    const report = await api.get("v1/accuracy", { ...wanted, window: "7d" });
    return { total: report.labelled, goal: null, whose: "of the pieces of the last 7 days" };
  }
  if (wanted.model) {
    const { settings, state } = await api.get(`v1/models/${wanted.namespace}/${wanted.model}`);
    const goal = settings.labels_wanted ?? null;
    // What starts a retraining are labelled pictures that no run has used; a store that was emptied counts anew.
    const { images, total } = state.labels;
    const fresh = images - Math.min(settings.labels_used ?? 0, images);
    return { total: goal === null ? total : fresh, goal, whose: "so far" };
  }
  const { models } = await api.get("v1/models");
  return { total: models.reduce((sum, one) => sum + one.state.labels.total, 0), goal: null, whose: "so far" };
}

function showCount({ total, goal, whose }) {
  const bar = byId("progress-bar");
  bar.hidden = goal === null;
  if (goal === null) {
    say(byId("progress-text"), `${counted(total, "label")} saved ${whose}.`);
    return;
  }
  bar.max = goal;
  bar.value = Math.min(total, goal);
  const next = total < goal ? `${count(goal - total)} more start one.` : "One starts as soon as nothing is in its way.";
  say(byId("progress-text"), `${count(total)} of ${counted(goal, "new label")} for a retraining. ${next}`);
}

async function byPerson(api, wanted) {
  const since = new Date(api.now() - DAY_MS).toISOString();
  const { predictions } = await api.get("v1/predictions", { ...wanted, labelled: true, since, limit: 1000 });
  const counts = new Map();
  for (const { truth_by: who } of predictions) counts.set(who, (counts.get(who) ?? 0) + 1);
  if (!counts.size) return "Nobody has labelled a piece of the last 24 hours yet.";
  const ranked = [...counts].sort((a, b) => b[1] - a[1]);
  const shown = ranked.slice(0, PEOPLE_SHOWN).map(([who, pieces]) => `${who} ${count(pieces)}`);
  if (ranked.length > PEOPLE_SHOWN) shown.push(`${count(ranked.length - PEOPLE_SHOWN)} more people`);
  return `Pieces of the last 24 hours, by who labelled them: ${shown.join(", ")}.`;
}
