export default function (component) {
  const { data, parentElement, setTriggerValue } = component;
  const root = parentElement.querySelector(".documents");
  const action = (words, event, d, label) =>
    el("button", { class: `action ${event}`, type: "button", "aria-label": label, onclick: () => setTriggerValue(event, d.id) }, words);
  const row = (d) =>
    el("tr", {},
      el("td", {},
        el("button", { class: "name", type: "button", disabled: d.state !== "indexed", "aria-label": `Open ${d.name}`,
          onclick: () => setTriggerValue("open", d.id) }, d.name),
        d.reason ? el("div", { class: "reason" }, d.reason) : null),
      el("td", {}, el("span", { class: `state ${d.state}` }, d.stateLabel)),
      el("td", { class: "number some" }, `${d.pages}`),
      el("td", { class: "number wide" }, `${d.chunks}`),
      el("td", { class: "number wide" }, d.size),
      el("td", { class: "wide" }, d.collection),
      el("td", { class: "date wide" }, d.added),
      el("td", {}, el("div", { class: "actions" },
        action("Details", "details", d, `Details of ${d.name}`),
        d.bad ? action("Try again", "again", d, `Try ${d.name} again`) : null,
        action("Delete", "remove", d, `Delete ${d.name}`))));
  const head = [["Document", ""], ["State", ""], ["Pages or parts", "number some"], ["Passages", "number wide"], ["Size", "number wide"],
    ["Collection", "wide"], ["Added", "wide"]];
  root.replaceChildren(
    el("table", {},
      el("caption", { class: "hidden" }, "Documents"),
      el("thead", {}, el("tr", {}, ...head.map(([words, kind]) => el("th", { scope: "col", class: kind }, words)),
        el("th", { scope: "col" }, el("span", { class: "hidden" }, "Actions")))),
      el("tbody", {}, ...data.rows.map(row))));
}
