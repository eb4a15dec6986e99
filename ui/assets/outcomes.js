export default function (component) {
  const { data, parentElement } = component;
  const root = parentElement.querySelector(".outcomes");
  root.replaceChildren(
    el("ul", { "aria-label": "What became of each file" },
      ...data.rows.map((r) =>
        el("li", {}, el("span", { class: `state ${r.outcome}` }, r.label), el("b", {}, r.name),
          el("span", { class: "detail" }, r.detail)))));
}
