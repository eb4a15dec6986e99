export default function (component) {
  const { data, parentElement } = component;
  const root = parentElement.querySelector(".outcomes");
  const group = (g) =>
    el("li", {},
      el("details", { open: g.open },
        el("summary", {}, el("span", { class: `state ${g.outcome}` }, g.label), el("span", {}, g.words)),
        el("ul", {}, ...g.names.map((name) => el("li", {}, name)))));
  root.replaceChildren(
    el("p", {}, data.total),
    el("ul", { class: "groups", "aria-label": "What became of each file" }, ...data.groups.map(group)));
}
