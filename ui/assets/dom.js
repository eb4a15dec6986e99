// Builds elements. Words only ever become text nodes, so nothing in a document or an answer can act as markup.
function el(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name === "onclick") node.addEventListener("click", value);
    else if (value !== null && value !== false) node.setAttribute(name, value === true ? "" : String(value));
  }
  node.append(...children.filter((child) => child !== null && child !== undefined).map((c) => c));
  return node;
}

const SVG = "http://www.w3.org/2000/svg";
function svg(tag, attributes = {}, ...children) {
  const node = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, String(value));
  node.append(...children);
  return node;
}

function icon(path) {
  return svg("svg", { viewBox: "0 0 24 24", class: "icon", "aria-hidden": "true" }, svg("path", { d: path }));
}

const ICONS = {
  warning: "M12 3 1.5 21h21L12 3Zm0 4.2L19 19H5L12 7.2ZM11 11h2v4h-2v-4Zm0 5h2v2h-2v-2Z",
  half: "M12 2a10 10 0 1 0 0 20 10 10 0 0 0 0-20Zm0 2v16a8 8 0 0 1 0-16Z",
  ask: "M12 2a10 10 0 1 0 0 20 10 10 0 0 0 0-20Zm0 2a8 8 0 1 1 0 16 8 8 0 0 1 0-16Zm0 2.5A3.5 3.5 0 0 0 8.5 10h2a1.5 1.5 0 1 1 2.6 1c-.9.8-2.1 1.5-2.1 3.5h2c0-1 .6-1.5 1.4-2.200A3.5 3.5 0 0 0 12 6.5ZM11 16h2v2h-2v-2Z",
  search: "M10 3a7 7 0 1 0 4.2 12.6l5.1 5.1 1.4-1.4-5.1-5.1A7 7 0 0 0 10 3Zm0 2a5 5 0 1 1 0 10 5 5 0 0 1 0-10Z",
};
