export default function (component) {
  const { data, parentElement } = component;
  const root = parentElement.querySelector(".page");

  const showText = () => {
    const parts = data.segments.map((s) => (s.mark ? el("mark", {}, s.text) : s.text));
    const box = el("div", { class: "text", tabindex: "0", role: "document", "aria-label": data.label }, ...parts);
    root.replaceChildren(box);
    const mark = box.querySelector("mark");
    if (mark) box.scrollTop = Math.max(0, mark.offsetTop - box.clientHeight / 3);
  };

  const showImage = () => {
    const image = el("img", { src: data.image, alt: `Image of ${data.label}`, width: data.width, height: data.height });
    image.addEventListener("error", showText);
    const sheet = el("div", { class: "sheet" }, image);
    if (data.boxes.length) {
      const marks = data.boxes.map(([x0, y0, x1, y1]) =>
        svg("rect", { x: x0 - 1.5, y: y0 - 1.5, width: x1 - x0 + 3, height: y1 - y0 + 3, rx: 2, class: "mark" }));
      marks.push(...data.exact.map(([x0, y0, x1, y1]) =>
        svg("rect", { x: x0 - 1, y: y0 - 1, width: x1 - x0 + 2, height: y1 - y0 + 2, rx: 2, class: "exact" })));
      const overlay = svg("svg", { viewBox: `0 0 ${data.width} ${data.height}`, preserveAspectRatio: "none", role: "img",
        "aria-label": `Highlighted: ${data.quote}` }, ...marks);
      sheet.append(overlay);
    }
    const frame = el("div", { class: "frame", tabindex: "0", role: "region", "aria-label": data.label }, sheet);
    root.replaceChildren(frame);
    const first = sheet.querySelector(".mark");
    if (first) {
      const reveal = () => {
        const top = ((data.exact[0] || data.boxes[0])[1] / data.height) * sheet.clientHeight;
        frame.scrollTop = Math.max(0, top - frame.clientHeight / 3);
      };
      if (image.complete) reveal();
      else image.addEventListener("load", reveal);
    }
  };

  if (data.image) showImage();
  else showText();
}
