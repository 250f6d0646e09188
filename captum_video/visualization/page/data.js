"use strict";
// What the page holds, and its numbers unpacked.

function failed(error) {
  const notice = document.getElementById("notice");
  const reason = (error && error.message) || "an unknown error";
  notice.textContent = `This page could not be shown (${reason.replace(/\.$/, "")}). The file may be damaged, or the browser older than 2023.`;
  notice.hidden = false;
}

const early = (event) => failed(event.error);
addEventListener("error", early); // until all is there

const content = JSON.parse(document.getElementById("content").textContent);
const total = content.labels.length;
const unpacked = new Map();

function bytesOf(text) {
  const raw = atob(text);
  const bytes = new Uint8Array(raw.length);
  for (let i = 0; i < raw.length; i += 1) bytes[i] = raw.charCodeAt(i);
  return bytes;
}

/** A map's steps, one for each pixel of each frame: sign(v) round(levels sqrt(|v| / peak)). */
async function stepsOf(map) {
  if (!unpacked.has(map)) {
    const stream = new Blob([bytesOf(map.values)]).stream();
    const plain = stream.pipeThrough(new DecompressionStream("deflate"));
    const steps = new Int8Array(await new Response(plain).arrayBuffer());
    if (steps.length !== total * content.size[0] * content.size[1]) throw new Error(`the map ${map.name} is incomplete`);
    unpacked.set(map, steps);
  }
  return unpacked.get(map);
}

function valueOf(map, step) {
  const share = step / content.levels;
  return Math.sign(step) * map.peak * share * share;
}

/** What a sign leaves of a value. */
function signed(value, sign) {
  if (sign === "positive") return Math.max(value, 0);
  if (sign === "negative") return Math.min(value, 0);
  return sign === "absolute" ? Math.abs(value) : value;
}

/** A map's sum over each frame, of what the sign leaves. */
function sumsOf(map, sign) {
  return map.positive.map((positive, frame) => {
    const negative = map.negative[frame];
    if (sign === "positive") return positive;
    if (sign === "negative") return negative;
    return sign === "absolute" ? positive - negative : positive + negative;
  });
}

/** The lines of the curve: name and one number for each frame. */
function linesOf(target, sign) {
  const maps = target.maps.map((map) => ({ name: map.name, values: sumsOf(map, sign), summed: true }));
  return maps.concat(target.curves.map((curve) => ({ ...curve, summed: false })));
}

/** The frames that carry most of a line, from the largest magnitude down. */
function strongest(values, count) {
  const order = values.map((_, frame) => frame);
  order.sort((a, b) => Math.abs(values[b]) - Math.abs(values[a]) || a - b);
  return order.slice(0, count).filter((frame) => values[frame] !== 0);
}

/** What a frame is called in a sentence. */
function nameOf(frame) {
  const label = content.labels[frame];
  return /^\p{L}/u.test(label) ? label : `frame ${label}`;
}

/** A number of a table: whole ones as they are. */
function shown(value) {
  if (Number.isInteger(value)) return String(value);
  return Math.abs(value) >= 1e4 ? String(Math.round(value)) : String(Number(value.toPrecision(4)));
}

function short(value) {
  if (value === 0) return "0";
  const size = Math.abs(value);
  return size >= 1e-3 && size < 1e5 ? String(Number(value.toPrecision(3))) : value.toExponential(1);
}

/** A loaded picture. Its decode() would wait for as long as the page is folded away. */
function pictureOf(uri) {
  return new Promise((done, refuse) => {
    const image = new Image();
    image.onload = () => done(image);
    image.onerror = () => refuse(new Error("a frame cannot be decoded"));
    image.src = uri;
  });
}

/** Pictures as pixels. */
async function pixelsOf(uris, [width, height]) {
  const canvas = document.createElement("canvas");
  canvas.width = width;
  canvas.height = height;
  const context = canvas.getContext("2d", { willReadFrequently: true });
  const found = [];
  for (const uri of uris) {
    const image = await pictureOf(uri);
    if (image.naturalWidth !== width || image.naturalHeight !== height) throw new Error("a frame is of another size");
    context.drawImage(image, 0, 0);
    found.push(context.getImageData(0, 0, width, height).data);
  }
  return found;
}
