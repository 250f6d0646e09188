// Relevance over time.

const SVG = "http://www.w3.org/2000/svg";
const DASHES = ["", "7 3", "2 3", "9 3 2 3", "4 4", "1 4"];
const LEFT = 52;
const RIGHT = 10;
const TOP = 10;
const BOTTOM = 24;
const HEIGHT = 170;

function svg(name, attributes, text) {
  const element = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  if (text !== undefined) element.textContent = text;
  return element;
}

function strokeOf(index) {
  return { stroke: `var(--line-${index % 6})`, "stroke-dasharray": DASHES[index % 6], fill: "none", "stroke-width": 2 };
}

/** Where frames and values lie in the picture. */
function axesOf(box, lines) {
  const values = lines.flatMap((line) => line.values).concat(0);
  const low = Math.min(...values);
  const high = Math.max(...values);
  const reach = high - low || 1;
  const inner = box.width - LEFT - RIGHT;
  const up = box.height - TOP - BOTTOM;
  return {
    low, high,
    x: (frame) => LEFT + (total > 1 ? (frame / (total - 1)) * inner : inner / 2),
    y: (value) => TOP + ((high - value) / reach) * up,
    frame: (x) => Math.max(0, Math.min(total - 1, Math.round(((x - LEFT) / inner) * (total - 1)))),
  };
}

/** What a frame is called, below it and inside the picture. */
function frameLabel(box, x, label) {
  const text = label.length > 30 ? `${label.slice(0, 29)}\u2026` : label;
  const half = 3.5 * text.length;
  const anchor = x + half > box.width ? "end" : x - half < 0 ? "start" : "middle";
  return svg("text", { x, y: box.height - 6, "text-anchor": anchor }, text);
}

/** One picture of lines in one unit; `first` is the number of its first line among all. */
function drawLines(width, lines, first) {
  const box = { width, height: HEIGHT };
  const axes = axesOf(box, lines);
  const root = svg("svg", { viewBox: `0 0 ${box.width} ${box.height}`, "aria-hidden": "true" });
  root.append(svg("line", { class: "axis", x1: LEFT, x2: box.width - RIGHT, y1: axes.y(0), y2: axes.y(0) }));
  const ticks = [axes.high, 0, axes.low].filter((value, i, all) => all.indexOf(value) === i);
  const apart = ticks.filter((value) => value === 0 || Math.abs(axes.y(value) - axes.y(0)) > 12);
  for (const value of apart) {
    root.append(svg("text", { x: LEFT - 6, y: axes.y(value) + 4, "text-anchor": "end" }, short(value)));
  }
  const longest = Math.min(30, Math.max(...content.labels.map((label) => label.length)));
  const every = Math.max(1, Math.ceil(total / Math.max(1, Math.floor(box.width / Math.max(70, 10 + 7 * longest)))));
  for (let frame = 0; frame < total; frame += every) {
    root.append(frameLabel(box, axes.x(frame), content.labels[frame]));
  }
  lines.forEach((line, index) => {
    const points = line.values.map((value, frame) => `${axes.x(frame)},${axes.y(value)}`).join(" ");
    root.append(svg("polyline", { points, "data-line": line.name, ...strokeOf(first + index) }));
  });
  root.append(svg("line", { class: "now", y1: TOP - 6, y2: box.height - BOTTOM + 4 }));
  return { root, axes };
}

/** Sums of maps in one picture; other numbers, which have other units, in a second below it. */
function drawCurve(host, lines) {
  const width = Math.max(host.clientWidth, 200);
  const sums = lines.filter((line) => line.summed);
  const others = lines.filter((line) => !line.summed);
  const drawn = [sums, others].filter((some) => some.length)
    .map((some) => drawLines(width, some, some === others ? sums.length : 0));
  host.replaceChildren(...drawn.map((picture) => picture.root));
  return drawn[0].axes;
}

function markFrame(host, axes, frame) {
  for (const now of host.querySelectorAll(".now")) {
    now.setAttribute("x1", axes.x(frame));
    now.setAttribute("x2", axes.x(frame));
  }
}

function drawLegend(host, lines, jump) {
  host.replaceChildren(...lines.map((line, index) => {
    const item = document.createElement("li");
    const sample = svg("svg", { viewBox: "0 0 34 10", "aria-hidden": "true" });
    sample.append(svg("line", { x1: 0, x2: 34, y1: 5, y2: 5, ...strokeOf(index) }));
    item.append(sample, `${line.name}${line.summed ? ", sum per frame" : ""}`);
    const frames = strongest(line.values, 3);
    const even = frames.length && line.values.every((value) => value === line.values[0]);
    if (even) item.append(": the same in every frame");
    else if (frames.length) item.append(": most in");
    for (const frame of even ? [] : frames) {
      const button = document.createElement("button");
      button.type = "button";
      button.textContent = content.labels[frame];
      button.setAttribute("aria-label", `Go to ${nameOf(frame)}, where ${line.name} is ${short(line.values[frame])}`);
      button.addEventListener("click", () => jump(frame));
      item.append(button);
    }
    return item;
  }));
}
