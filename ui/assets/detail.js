export default function (component) {
  const { data, parentElement, setTriggerValue } = component;
  const root = parentElement.querySelector(".detail");
  const button = (attributes, run, ...children) => el("button", { type: "button", onclick: run, ...attributes }, ...children);
  const titled = (words, ...children) => el("section", {}, el("h4", {}, words), ...children);
  const document_ = (d) =>
    el("li", {}, button({ class: "link", "aria-label": `Details of ${d.name}` }, () => setTriggerValue("document", d.id), d.name));

  const page = (p) => {
    const sheet = el("span", { class: "sheet" });
    const words = () => {
      sheet.classList.add("words");
      sheet.replaceChildren(el("span", { class: "size" }, p.characters));
    };
    if (p.image) {
      const image = el("img", { src: p.image, alt: "", loading: "lazy" });
      image.addEventListener("error", words);
      sheet.append(image);
    } else words();
    return el("li", {}, button({ class: "thumb", "aria-label": `Open ${p.label}: ${p.facts}`, title: p.facts },
      () => setTriggerValue("page", p.index), sheet,
      el("span", {}, p.label),
      p.ocr ? el("span", { class: p.doubtful ? "ocr doubtful" : "ocr" }, p.ocr) : null));
  };
  // Looking at a page goes on record, so that only so many pictures are asked for at once.
  const pages = () => {
    const list = el("ul", { class: "pages", "aria-label": "Pages" });
    const more = button({ class: "link" }, () => add());
    let shown = 0;
    const add = () => {
      list.append(...data.pages.slice(shown, shown + data.atOnce).map(page));
      shown = Math.min(data.pages.length, shown + data.atOnce);
      more.textContent = `Show more (${data.pages.length - shown})`;
      more.hidden = shown === data.pages.length;
    };
    add();
    return titled(data.pagesTitle, list, more);
  };
  const cells = (row, tag) => el("tr", {}, ...row.map((words) => el(tag, tag === "th" ? { scope: "col" } : {}, words)));
  const passage = (c) => el("li", {}, el("span", { class: "where" }, c.where), el("p", {}, c.text));

  const parts = [
    el("p", { class: "head" }, el("span", { class: `state ${data.state}` }, data.stateLabel),
      data.reason ? el("span", { class: "reason" }, data.reason) : null),
    el("dl", {}, ...data.facts.flatMap(([name, value]) => [el("dt", {}, name), el("dd", {}, value)])),
  ];
  if (data.parent) parts.push(titled("Lies inside", el("ul", {}, document_(data.parent))));
  if (data.members.length) parts.push(titled(`Documents inside it: ${data.members.length}`, el("ul", { class: "scroll" }, ...data.members.map(document_))));
  if (data.pages.length) parts.push(pages());
  if (data.versions.length)
    parts.push(titled("Versions", el("table", {}, el("thead", {}, cells(data.versionsHead, "th")),
      el("tbody", {}, ...data.versions.map((row) => cells(row, "td"))))));
  if (data.passages)
    parts.push(titled(`Passages: ${data.passages.length}`, el("ol", { class: "passages scroll", tabindex: "0" }, ...data.passages.map(passage))));
  else if (data.hasPassages)
    parts.push(titled("Passages", button({ class: "link" }, () => setTriggerValue("passages", true), "Show its passages"),
      el("span", { class: "note" }, " (goes on record as a reading)")));
  root.replaceChildren(...parts);
}
