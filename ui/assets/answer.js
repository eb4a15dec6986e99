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

  const words = (s) => s.pieces.length
    ? el("q", { class: "quoted", "data-n": s.citations[0] }, ...s.pieces.map((p) => (p.mark ? el("mark", {}, p.text) : p.text)))
    : el("span", { class: "words" }, s.text);
  const sentence = (s) => {
    const node = el("span", { class: `sentence ${s.support}` }, s.before, words(s));
    for (const n of s.citations) node.append(" ", chip(n));
    for (const n of s.invalid) node.append(" ", invalid(n));
    if (s.label)
      node.append(" ", el("span", { class: `flag ${s.support === "unsupported" ? "unsupported" : "partial"}` },
        icon(s.support === "unsupported" ? ICONS.warning : ICONS.half), s.label));
    return node;
  };

  const named = (c) => [el("b", {}, c.name), ` · ${c.place}`];
  const from = (n) => known.has(n)
    ? el("button", { class: "from", type: "button", "aria-label": `Open source ${n}: ${known.get(n).name}, ${known.get(n).place}`,
        onclick: () => open(n) }, ...named(known.get(n)))
    : null;
  const source = (c) =>
    el("li", {},
      el("button", { class: "source", type: "button", "aria-label": `Open source ${c.n}: ${c.name}, ${c.place}`,
        onclick: () => open(c.n) },
        el("span", { class: "n", "aria-hidden": "true" }, `${c.n}`),
        el("span", { class: "what" },
          el("span", { class: "where" }, ...named(c)),
          el("q", {}, c.quote))));

  // What is selected inside a quote, in characters from its start; other selections are nothing.
  const selected = () => {
    const home = root.getRootNode();
    const selection = home.getSelection ? home.getSelection() : document.getSelection();
    if (!selection || !selection.rangeCount || selection.isCollapsed) return null;
    const range = selection.getRangeAt(0);
    const quote = [...root.querySelectorAll("q.quoted")].find((q) => q.contains(range.startContainer) && q.contains(range.endContainer));
    if (!quote) return null;
    const before = document.createRange();
    before.selectNodeContents(quote);
    before.setEnd(range.startContainer, range.startOffset);
    const start = [...before.toString()].length;
    return { citation: Number(quote.dataset.n), start, end: start + [...range.toString()].length };
  };
  const judge = () => {
    if (data.judged) return el("p", { class: "judge", role: "status" }, data.judged);
    const note = el("span", { class: "note", role: "status" });
    const say = (verdict) => () => setTriggerValue("judge", { verdict });
    const correct = () => {
      const words = selected();
      if (words) setTriggerValue("judge", { verdict: "corrected", ...words });
      else note.textContent = "Select the right words in a quote first.";
    };
    return el("p", { class: "judge" },
      el("button", { type: "button", onclick: say("approved") }, "Right"),
      el("button", { type: "button", onclick: say("rejected") }, "Not right"),
      el("button", { type: "button", onclick: correct }, "The words I selected are right"), note);
  };

  const list = (items) => el("ul", {}, ...items.map(source));
  const asked = () =>
    el("div", { class: "asked" },
      el("p", { class: "verdict" }, icon(ICONS.ask), data.asked.question),
      el("ul", {}, ...data.asked.options.map((name) => el("li", {}, name))),
      el("p", { class: "note" }, "Ask again with # and the name, for example #" + (data.asked.options[0] || "lease") + "."));
  const parts = [];
  if (data.abstained && data.asked) {
    parts.push(asked());
  } else if (data.abstained) {
    parts.push(
      el("p", { class: "verdict" }, icon(ICONS.search), "Not found in your documents"),
      el("p", { class: "note" }, data.citations.length
        ? "No passage answers this well enough to rely on. These come nearest; they are not evidence."
        : "No passage comes near this question."));
    if (data.searched) parts.push(el("p", { class: "note" }, `Searched: ${data.searched}.`));
    if (data.citations.length) parts.push(el("h4", {}, "Nearest passages"), list(data.citations));
  } else {
    parts.push(el("p", { class: `style ${data.style}` }, data.styleLabel));
    if (data.style === "exact") {
      parts.push(el("p", { class: "found" }, data.exact.join("; ")));
      parts.push(...data.sentences.map((s) => el("blockquote", {}, sentence(s), ...s.citations.map(from))), judge());
    } else {
      parts.push(el("p", { class: "text" }, ...data.sentences.map(sentence)));
    }
    if (data.asked) parts.push(asked());
    // Under an exact answer each quote has its source at its foot already.
    const cited = data.style === "exact" ? [] : data.citations.filter((c) => c.cited);
    const rest = data.citations.filter((c) => !c.cited);
    if (cited.length) parts.push(el("h4", {}, "Sources"), list(cited));
    if (rest.length) {
      const more = el("details", {}, el("summary", {}, rest.length < data.citations.length ? "Other passages that were read" : "Passages that were read"), list(rest));
      if (rest.length === data.citations.length) more.open = true;
      parts.push(more);
    }
  }
  for (const line of data.warnings) parts.push(el("p", { class: "caution" }, icon(ICONS.warning), line));
  parts.push(el("p", { class: "meta" }, data.meta));
  root.replaceChildren(...parts);
}
