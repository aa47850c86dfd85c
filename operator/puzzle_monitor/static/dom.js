// Elements from data. Text always becomes a text node: nothing that a record holds can become markup.

const SVG = "http://www.w3.org/2000/svg";

/** An HTML element. `on…` attributes are listeners; null, undefined and false leave an attribute out. */
export function el(name, attributes = {}, ...children) {
  return fill(document.createElement(name), attributes, children);
}

/** An SVG element, the same way. */
export function svg(name, attributes = {}, ...children) {
  return fill(document.createElementNS(SVG, name), attributes, children);
}

function fill(node, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else node.setAttribute(name, value === true ? "" : String(value));
  }
  node.append(...children.flat().filter((child) => child !== null && child !== undefined && child !== false));
  return node;
}

/** The element with an id; a page without it is a mistake of ours. */
export function byId(id) {
  const found = document.getElementById(id);
  if (found === null) throw new Error(`the page has no element #${id}`);
  return found;
}

/** Change a text only if it differs, so that a screen reader is not told the same again. */
export function say(node, text) {
  if (node.textContent !== text) node.textContent = text;
}
