// The player: what is shown, and what the controls do to it.

const byId = (id) => document.getElementById(id);
const state = { frame: 0, target: 0, playing: false, speed: 1, due: 0 };
const view = { sign: "all", background: "grey", opacity: 0.85, palette: 0 };
const hidden = new Set();
const colours = palettesOf(content.palettes);
let pictures = [];
let panels = []; // {name, canvas, draw(frame)}
let tables = new Map(); // how each map's steps look
let axes = null;

const nothing = { name: "", note: "", scale: 0, maps: [], curves: [] };
const target = () => content.targets[state.target] || nothing;

function addPanel(name, [width, height], draw) {
  const canvas = document.createElement("canvas");
  canvas.width = width;
  canvas.height = height;
  canvas.dataset.panel = name;
  canvas.className = Math.max(width, height) < 200 ? "small" : "";
  canvas.setAttribute("role", "img");
  canvas.setAttribute("aria-label", name);
  const figure = document.createElement("figure");
  const caption = document.createElement("figcaption");
  caption.textContent = name;
  figure.append(canvas, caption);
  const context = canvas.getContext("2d");
  const image = context.createImageData(width, height);
  panels.push({ name, figure, draw: (frame) => { draw(image.data, frame); context.putImageData(image, 0, 0); } });
}

/** The panels of the chosen target. */
async function arrange() {
  const wanted = target();
  const steps = await Promise.all(wanted.maps.map(stepsOf));
  if (wanted !== target()) return; // another one was chosen meanwhile
  panels = [];
  tables = new Map();
  addPanel("frames", content.size, (pixels, frame) => pixels.set(pictures[frame]));
  wanted.maps.forEach((map, i) => {
    const area = content.size[0] * content.size[1];
    addPanel(map.name, content.size, (pixels, frame) => {
      const grey = view.background === "grey" && map.peak > 0;
      blend(pixels, pictures[frame], steps[i], frame * area, tables.get(map), grey);
    });
  });
  for (const panel of content.panels) {
    addPanel(panel.name, panel.size, (pixels, frame) => pixels.set(panel.pixels[frame]));
  }
  byId("panels").replaceChildren(...panels.map((panel) => panel.figure));
  showChosen();
  look();
  byId("panels").removeAttribute("aria-busy");
}

/** What the controls of the view say, on the panels that are there. */
function look() {
  const { maps, scale } = target();
  for (const map of maps) tables.set(map, shades(map, scale, view, colours[view.palette]));
  for (const control of document.querySelectorAll(".of-maps")) control.hidden = !maps.length;
  drawScale(colours[view.palette], target(), view);
  const { words } = content.palettes[view.palette];
  for (const word of document.querySelectorAll("#meaning [data-colour]")) word.textContent = words[word.dataset.colour];
  showLines();
  drawFrame();
}

function showLines() {
  const lines = linesOf(target(), view.sign);
  byId("curve").hidden = byId("legend").hidden = !lines.length;
  if (!lines.length) return;
  axes = drawCurve(byId("curve"), lines);
  drawLegend(byId("legend"), lines, (frame) => { pause(); goTo(frame); });
  markFrame(byId("curve"), axes, state.frame);
}

function drawFrame() {
  for (const panel of panels) if (!hidden.has(panel.name)) panel.draw(state.frame);
  const text = `${nameOf(state.frame)}, ${state.frame + 1} of ${total}`;
  byId("frame").value = state.frame;
  byId("frame").setAttribute("aria-valuetext", text);
  byId("time").textContent = text;
  const curve = byId("curve");
  curve.setAttribute("aria-valuenow", state.frame);
  curve.setAttribute("aria-valuetext", [text, ...linesOf(target(), view.sign).map((line) => `${line.name} ${short(line.values[state.frame])}`)].join(", "));
  if (axes && !curve.hidden) markFrame(curve, axes, state.frame);
  if (!state.playing) speak();
}

function speak() {
  byId("spoken").textContent = byId("time").textContent;
}

function goTo(frame) {
  state.frame = Math.max(0, Math.min(total - 1, frame));
  drawFrame();
}

function step(by) {
  pause();
  goTo(state.frame + by);
}

function pause() {
  if (!state.playing) return;
  state.playing = false;
  byId("play").textContent = "Play";
  speak();
}

function play() {
  state.playing = true;
  state.due = performance.now();
  byId("play").textContent = "Pause";
  requestAnimationFrame(tick);
}

function tick(now) {
  if (!state.playing) return;
  const wait = 1000 / (content.fps * state.speed);
  const late = Math.floor((now - state.due) / wait);
  if (now - state.due > wait + 1000) { // a hidden tab does not catch up
    state.due = now;
    goTo((state.frame + 1) % total);
  } else if (late >= 1) { // a slow machine leaves frames out rather than time
    state.due += late * wait;
    goTo((state.frame + late) % total);
  }
  requestAnimationFrame(tick);
}

function onKey(event) {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  const own = event.target.closest("select, input, button");
  if (event.key === " " && (!own || own.type === "range")) {
    if (!event.repeat) state.playing ? pause() : play();
  }
  else if (own && own.id !== "frame" && own.tagName !== "BUTTON") return;
  else if (event.key === "ArrowLeft") step(-1);
  else if (event.key === "ArrowRight") step(1);
  else if (event.key === "Home") step(-total);
  else if (event.key === "End") step(total);
  else return;
  event.preventDefault();
}

function showChosen() {
  const boxes = panels.map((panel) => {
    const label = document.createElement("label");
    const box = document.createElement("input");
    box.type = "checkbox";
    box.autocomplete = "off";
    box.checked = !hidden.has(panel.name);
    box.dataset.shows = panel.name;
    box.addEventListener("change", () => {
      box.checked ? hidden.delete(panel.name) : hidden.add(panel.name);
      panel.figure.hidden = !box.checked;
      drawFrame();
    });
    panel.figure.hidden = !box.checked;
    label.append(box, panel.name);
    return label;
  });
  byId("shown").replaceChildren(...boxes);
}

function choose(index) {
  state.target = index;
  const chosen = target();
  const zero = chosen.maps.filter((map) => map.peak === 0).map((map) => map.name);
  const those = zero.length === chosen.maps.length ? "All its maps are" : `${zero.join(", ")} ${zero.length > 1 ? "are" : "is"}`;
  const plain = zero.length > 0 && `${those} zero: the plain frames are shown.`;
  byId("explained").textContent = [chosen.name && `Explained: ${chosen.name}.`, chosen.note, plain].filter(Boolean).join(" ");
  for (const row of document.querySelectorAll("#tables tbody tr")) {
    const meant = row.dataset.target === chosen.name;
    row.classList.toggle("explained", meant);
    meant ? row.setAttribute("aria-current", "true") : row.removeAttribute("aria-current");
  }
  drawDownloads(byId("downloads"), chosen);
  byId("panels").setAttribute("aria-busy", "true");
  return arrange();
}

function fillTables() {
  byId("tables").replaceChildren(...content.tables.map((given) => {
    const table = document.createElement("table");
    table.createCaption().textContent = given.title;
    const head = table.createTHead().insertRow();
    given.columns.forEach((column, place) => {
      const cell = document.createElement("th");
      cell.scope = "col";
      cell.textContent = column;
      cell.className = typeof given.rows[0][place] === "number" ? "number" : "";
      head.append(cell);
    });
    const body = table.createTBody();
    given.rows.forEach((values, number) => {
      const row = body.insertRow();
      if (given.targets[number] !== null) row.dataset.target = given.targets[number];
      for (const value of values) {
        const cell = row.insertCell();
        cell.textContent = typeof value === "number" ? shown(value) : value ?? "";
        cell.className = typeof value === "number" ? "number" : "";
      }
    });
    const scroll = document.createElement("div");
    scroll.className = "scroll";
    scroll.append(table);
    return scroll;
  }));
}

function fillWords() {
  const pairs = (content.method ? [["method", content.method]] : []).concat(content.parameters);
  byId("details").hidden = !pairs.length;
  byId("parameters").replaceChildren(...pairs.flatMap(([name, value]) => {
    const term = document.createElement("dt");
    const text = document.createElement("dd");
    term.textContent = name;
    text.textContent = value;
    return [term, text];
  }));
  const kept = content.targets.some((known) => known.maps.length);
  byId("precision").textContent = kept ? `Maps lie in this page in ${content.levels} steps of magnitude for each sign, finer near zero; the curves are exact.` : "";
  const options = (names) => names.map((name, i) => new Option(name || `output ${i + 1}`, i));
  byId("target").replaceChildren(...options(content.targets.map((known) => known.name)));
  byId("targets").hidden = content.targets.length < 2;
  byId("palette").replaceChildren(...options(content.palettes.map((palette) => palette.name)));
  byId("frame").max = total - 1;
  byId("curve").setAttribute("aria-valuemax", total - 1);
}

function listen() {
  byId("play").addEventListener("click", () => (state.playing ? pause() : play()));
  byId("back").addEventListener("click", () => step(-1));
  byId("on").addEventListener("click", () => step(1));
  byId("frame").addEventListener("input", (event) => { pause(); goTo(Number(event.target.value)); });
  byId("frame").addEventListener("pointerdown", pause);
  byId("target").addEventListener("change", (event) => choose(Number(event.target.value)).catch(failed));
  byId("speed").addEventListener("change", (event) => { state.speed = Number(event.target.value); });
  byId("opacity").addEventListener("input", (event) => { view.opacity = event.target.value / 100; look(); });
  byId("sign").addEventListener("change", (event) => { view.sign = event.target.value; look(); });
  byId("background").addEventListener("change", (event) => {
    view.background = event.target.value;
    byId("opacity").disabled = view.background === "none"; // nothing shines through
    look();
  });
  byId("palette").addEventListener("change", (event) => { view.palette = Number(event.target.value); look(); });
  byId("curve").addEventListener("click", (event) => {
    pause();
    goTo(axes.frame(event.clientX - event.currentTarget.getBoundingClientRect().left));
  });
  document.addEventListener("keydown", onKey);
  let width = byId("curve").clientWidth;
  new ResizeObserver(() => requestAnimationFrame(() => {
    if (byId("curve").clientWidth !== width) showLines();
    width = byId("curve").clientWidth;
  })).observe(byId("curve"));
}

async function start() {
  fillTables();
  fillWords();
  pictures = await pixelsOf(content.frames, content.size);
  for (const panel of content.panels) panel.pixels = await pixelsOf(panel.frames, panel.size);
  await choose(0);
  listen();
  removeEventListener("error", early);
  document.body.dataset.ready = "yes";
}

start().catch((error) => { failed(error); console.error(error); });
