// How a map is laid over a frame: as captum_video.visualization.overlay does it.

const LUMA = [0.299, 0.587, 0.114];

function palettesOf(given) {
  return given.map((palette) => bytesOf(palette.colours));
}

function colourAt(palette, place) {
  const index = 3 * Math.min(255, Math.floor(place * 256));
  return [palette[index], palette[index + 1], palette[index + 2]];
}

/** For each step of a map how much it covers and with which colour. */
function shades(map, scale, view, palette) {
  const count = 2 * content.levels + 1;
  const table = { cover: new Float64Array(count), colour: new Uint8Array(3 * count) };
  for (let i = 0; i < count; i += 1) {
    const value = signed(valueOf(map, i - content.levels), view.sign);
    const strength = scale > 0 ? Math.min(Math.abs(value) / scale, 1) : 0;
    const side = Math.sign(value);
    const alone = view.background === "none";
    const place = alone ? 0.5 + 0.5 * side * strength : 0.5 + 0.5 * side * (0.45 + 0.35 * strength);
    table.cover[i] = alone ? 1 : view.opacity * strength ** 0.7;
    table.colour.set(colourAt(palette, place), 3 * i);
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

function drawScale(palette, scale) {
  document.getElementById("scale").hidden = !(scale > 0);
  const canvas = document.querySelector("#scale canvas");
  const context = canvas.getContext("2d");
  const row = context.createImageData(256, 1);
  for (let i = 0; i < 256; i += 1) row.data.set([...colourAt(palette, (i + 0.5) / 256), 255], 4 * i);
  context.putImageData(row, 0, 0);
  document.getElementById("low").textContent = `\u2212${short(scale)}`;
  document.getElementById("high").textContent = `+${short(scale)}: one scale for all maps`;
}
