export default function (component) {
  const { data, parentElement, setTriggerValue } = component;
  const root = parentElement.querySelector(".documents");
  const row = (d) =>
    el("tr", {},
      el("td", {},
        el("button", { class: "name", type: "button", disabled: d.state !== "indexed", "aria-label": `Open ${d.name}`,
          onclick: () => setTriggerValue("open", d.id) }, d.name),
        d.reason ? el("div", { class: "reason" }, d.reason) : null),
      el("td", {}, el("span", { class: `state ${d.state}` }, d.stateLabel)),
      el("td", { class: "number" }, `${d.pages}`),
      el("td", { class: "number wide" }, `${d.chunks}`),
      el("td", { class: "number wide" }, d.size),
      el("td", { class: "wide" }, d.collection),
      el("td", { class: "date wide" }, d.added),
      el("td", {}, el("button", { class: "delete", type: "button", "aria-label": `Delete ${d.name}`,
        onclick: () => setTriggerValue("remove", d.id) }, "Delete")));
  const head = [["Document", ""], ["State", ""], ["Pages or parts", "number"], ["Passages", "number wide"], ["Size", "number wide"],
    ["Collection", "wide"], ["Added", "wide"]];
  root.replaceChildren(
    el("table", {},
      el("caption", { class: "hidden" }, "Documents"),
      el("thead", {}, el("tr", {}, ...head.map(([words, kind]) => el("th", { scope: "col", class: kind }, words)),
        el("th", { scope: "col" }, el("span", { class: "hidden" }, "Actions")))),
      el("tbody", {}, ...data.rows.map(row))));
}
