// The models that the monitor knows: those that the operator has settings for, and those it only has records of.

/** One name for a model: namespace/name. */
export const modelKey = ({ namespace, model }) => `${namespace}/${model}`;

/** All of them, by name: {namespace, model, settings, state}; settings and state are null where there are none. */
export async function models(api) {
  const [known, seen] = await Promise.all([api.get("v1/models"), api.get("v1/accuracy", { window: "7d" })]);
  const found = new Map();
  for (const { namespace, model } of seen.revisions) {
    found.set(modelKey({ namespace, model }), { namespace, model, settings: null, state: null });
  }
  for (const { namespace, name, settings, state } of known.models) {
    found.set(modelKey({ namespace, model: name }), { namespace, model: name, settings, state });
  }
  return [...found.values()].sort((a, b) => modelKey(a).localeCompare(modelKey(b)));
}

/** Fill a <select> with them, the chosen one kept; `extra` is an option before them. */
export function offer(select, found, extra = null) {
  const wanted = select.value || new URLSearchParams(location.search).get("model") || "";
  const options = found.map((one) => new Option(modelKey(one), modelKey(one)));
  if (extra) options.unshift(new Option(extra, ""));
  const same = select.options.length === options.length && options.every((one, n) => one.value === select.options[n].value);
  if (same) return;
  select.replaceChildren(...options);
  select.value = options.some((one) => one.value === wanted) ? wanted : (options[0]?.value ?? "");
}

/** Keep the choice in the address, so that it can be passed on. */
export function remember(value) {
  const url = new URL(location.href);
  if (value) url.searchParams.set("model", value);
  else url.searchParams.delete("model");
  history.replaceState(null, "", url);
}
