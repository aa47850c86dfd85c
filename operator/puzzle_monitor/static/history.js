// What the line page asks the monitor, in the shape that it draws.

const BUCKETS = 24; // more of them hold too few labels each to say anything

/** Milliseconds of a window such as 24h. */
export function span(window) {
  const [, number, unit] = /^(\d+)([smhd])$/.exec(window);
  return Number(number) * { s: 1e3, m: 6e4, h: 3.6e6, d: 8.64e7 }[unit];
}

/** Accuracy by version over time: [{version, points: [{at, labelled, wrong, accuracy}]}]. */
export async function accuracyHistory(api, { namespace, model }, window) {
  const { series } = await api.get(`v1/lines/${namespace}/${model}/accuracy-history`, { window, buckets: BUCKETS });
  return series.map(({ version, points }) => ({ version, points: points.map((one) => ({ ...one, at: Date.parse(one.at) })) }));
}

/** Drift of one version over time: [{at, images, score, threshold, phase}]. */
export async function driftHistory(api, { namespace, model }, version, window) {
  const since = new Date(api.now() - span(window)).toISOString();
  const path = ["v1/drift", namespace, model, version, "history"].map(encodeURI).join("/");
  const { history } = await api.get(path, { since });
  return history.map((one) => ({ ...one, at: Date.parse(one.at) }));
}

/** Pieces with a picture that were wrong, the surest mistakes first. */
export async function wrongPieces(api, model, window, limit) {
  const since = new Date(api.now() - span(window)).toISOString();
  const query = { ...model, since, has_image: true, labelled: true, limit: 1000 };
  const { predictions } = await api.get("v1/predictions", query);
  const wrong = predictions.filter((one) => one.truth !== one.label);
  return wrong.sort((a, b) => b.confidence - a.confidence).slice(0, limit);
}

/** Pieces with a picture that the model was least sure of, labelled or not. */
export async function unsurePieces(api, model, window, limit) {
  const since = new Date(api.now() - span(window)).toISOString();
  const query = { ...model, since, has_image: true, order: "uncertain", limit };
  return (await api.get("v1/predictions", query)).predictions;
}
