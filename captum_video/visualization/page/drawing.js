// How a map is laid over a frame: as captum_video.visualization.overlay does it.

const LUMA = [0.299, 0.587, 0.114];

function palettesOf(given) {
  return given.map((palette) => bytesOf(palette.colours));
}

function colourAt(palette, place) {
  const index = 3 * Math.min(255, Math.floor(place * 256));
  return [palette[index], palette[index + 1], palette[index + 2]];
}

const RANGES = { all: [-1, 1], positive: [0, 1], negative: [-1, 0], absolute: [0, 1] };
const MIDDLE = 128; // the grey that stands for a frame behind the scale

/** How much of the frame a value covers, and with which colour. */
function shadeOf(value, scale, view, palette) {
  const strength = scale > 0 ? Math.min(Math.abs(value) / scale, 1) : 0;
  const side = Math.sign(value);
  const alone = view.background === "none";
  const place = alone ? 0.5 + 0.5 * side * strength : 0.5 + 0.5 * side * (0.45 + 0.35 * strength);
  return { cover: alone ? 1 : view.opacity * strength ** 0.7, colour: colourAt(palette, place) };
}

/** The same for each step of a map. */
function shades(map, scale, view, palette) {
  const count = 2 * content.levels + 1;
  const table = { cover: new Float64Array(count), colour: new Uint8Array(3 * count) };
  for (let i = 0; i < count; i += 1) {
    const shade = shadeOf(signed(valueOf(map, i - content.levels), view.sign), scale, view, palette);
    table.cover[i] = shade.cover;
    table.colour.set(shade.colour, 3 * i);
  }
  return table;
}

/** One frame under one map, into the pixels of a canvas. */
function blend(pixels, frame, steps, offset, table, grey) {
  for (let i = 0, p = 0; p < pixels.length; i += 1, p += 4) {
    const step = steps[offset + i] + content.levels;
    const cover = table.cover[step];
    const luma = LUMA[0] * frame[p] + LUMA[1] * frame[p + 1] + LUMA[2] * frame[p + 2];
    for (let c = 0; c < 3; c += 1) {
      const base = grey ? luma : frame[p + c];
      pixels[p + c] = Math.round((1 - cover) * base + cover * table.colour[3 * step + c]);
    }
    pixels[p + 3] = 255;
  }
}

/** What the values that the sign leaves look like on a grey frame, or alone. */
function drawScale(palette, { maps, scale }, view) {
  document.getElementById("scale").hidden = !(scale > 0);
  const canvas = document.querySelector("#scale canvas");
  const context = canvas.getContext("2d");
  const row = context.createImageData(256, 1);
  const [low, high] = RANGES[view.sign];
  for (let i = 0; i < 256; i += 1) {
    const value = (low + (i / 255) * (high - low)) * scale;
    const { cover, colour } = shadeOf(value, scale, view, palette);
    row.data.set([...colour.map((part) => Math.round((1 - cover) * MIDDLE + cover * part)), 255], 4 * i);
  }
  context.putImageData(row, 0, 0);
  const plus = view.sign === "absolute" ? "" : "+";
  const shared = maps.length > 1 ? ": one scale for all maps" : "";
  document.getElementById("low").textContent = low ? `\u2212${short(scale)}` : "0";
  document.getElementById("high").textContent = `${high ? plus + short(scale) : 0}${shared}`;
}
