export default function (component) {
  const { data, parentElement, setTriggerValue } = component;
  const root = parentElement.querySelector(".answer");
  const known = new Map(data.citations.map((c) => [c.n, c]));
  const open = (n) => setTriggerValue("cite", n);

  const chip = (n) => {
    const c = known.get(n);
    const label = c ? `Citation ${n}: ${c.name}, ${c.place}` : `Citation ${n}`;
    return el("button", { class: "chip", type: "button", "aria-label": label, title: label, onclick: () => open(n) }, `${n}`);
  };
  const invalid = (n) =>
    el("span", { class: "chip invalid", title: "The model named a source that does not exist" }, `${n}`,
      el("span", { class: "hidden" }, " (no such source)"));

  const sentence = (s) => {
    const node = el("span", { class: `sentence ${s.support}` }, s.before, el("span", { class: "words" }, s.text));
    for (const n of s.citations) node.append(" ", chip(n));
    for (const n of s.invalid) node.append(" ", invalid(n));
    if (s.label)
      node.append(" ", el("span", { class: `flag ${s.support}` },
        icon(s.support === "partial" ? ICONS.half : ICONS.warning), s.label));
    return node;
  };

  const source = (c) =>
    el("li", {},
      el("button", { class: "source", type: "button", "aria-label": `Open source ${c.n}: ${c.name}, ${c.place}`,
        onclick: () => open(c.n) },
        el("span", { class: "n", "aria-hidden": "true" }, `${c.n}`),
        el("span", { class: "what" },
          el("span", { class: "where" }, el("b", {}, c.name), ` · ${c.place}`),
          el("q", {}, c.quote))));

  const list = (items) => el("ul", {}, ...items.map(source));
  const parts = [];
  if (data.abstained) {
    parts.push(
      el("p", { class: "verdict" }, icon(ICONS.search), "Not found in your documents"),
      el("p", { class: "note" }, data.citations.length
        ? "No passage answers this well enough to rely on. These come nearest; they are not evidence."
        : "No passage comes near this question."));
    if (data.citations.length) parts.push(el("h4", {}, "Nearest passages"), list(data.citations));
  } else {
    parts.push(el("p", { class: "text" }, ...data.sentences.map(sentence)));
    const cited = data.citations.filter((c) => c.cited);
    const rest = data.citations.filter((c) => !c.cited);
    if (cited.length) parts.push(el("h4", {}, "Sources"), list(cited));
    if (rest.length) {
      const more = el("details", {}, el("summary", {}, cited.length ? "Other passages that were read" : "Passages that were read"), list(rest));
      if (!cited.length) more.open = true;
      parts.push(more);
    }
  }
  parts.push(el("p", { class: "meta" }, data.meta));
  root.replaceChildren(...parts);
}
