// The numbers as files, made here: nothing is fetched.

function offer(name, type, parts) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob(parts, { type }));
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60000);
}

function quoted(value) {
  const text = String(value);
  return /[",\n\r]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}

function curvesAsCsv() {
  const rows = [["target", "curve", "index", "frame", "sum", "positive", "negative"]];
  for (const target of content.targets) {
    for (const map of target.maps) {
      const sums = sumsOf(map, "all");
      sums.forEach((sum, i) => rows.push([target.name, map.name, i, content.labels[i], sum, map.positive[i], map.negative[i]]));
    }
    for (const curve of target.curves) {
      curve.values.forEach((value, i) => rows.push([target.name, curve.name, i, content.labels[i], value, "", ""]));
    }
  }
  return rows.map((row) => row.map(quoted).join(",")).join("\r\n") + "\r\n";
}

/** A map as NumPy's own file format, of shape (T, H, W): float32, float64 where that has no room. */
function npyOf(map, steps) {
  const [width, height] = content.size;
  const fits = map.peak === 0 || (map.peak > 1e-30 && map.peak < 1e38);
  const values = fits ? new Float32Array(steps.length) : new Float64Array(steps.length);
  for (let i = 0; i < steps.length; i += 1) values[i] = valueOf(map, steps[i]);
  const shape = `(${total}, ${height}, ${width})`;
  let header = `{'descr': '<f${fits ? 4 : 8}', 'fortran_order': False, 'shape': ${shape}, }`;
  header += " ".repeat((64 - ((10 + header.length + 1) % 64)) % 64) + "\n";
  const head = new Uint8Array(10 + header.length);
  head.set([0x93, 78, 85, 77, 80, 89, 1, 0, header.length & 255, header.length >> 8]);
  for (let i = 0; i < header.length; i += 1) head[10 + i] = header.charCodeAt(i);
  return [head, values];
}

function wordsAsJson() {
  const { frames, panels, palettes, targets, ...words } = content;
  const kept = targets.map((target) => ({
    ...target, maps: target.maps.map(({ values, ...map }) => map),
  }));
  const caption = [...document.querySelectorAll("#meaning p")].map((part) => part.textContent);
  return JSON.stringify({ ...words, caption, targets: kept }, null, 2);
}

function fileName(...words) {
  return words.filter(Boolean).join("-").replace(/[^\p{L}\p{N}._-]+/gu, "_") || "map";
}

function drawDownloads(host, target) {
  const buttons = [];
  const add = (text, make) => {
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = text;
    button.addEventListener("click", make);
    buttons.push(button);
  };
  for (const map of target.maps) {
    add(`${map.name} (.npy)`, async () => offer(`${fileName(map.name, target.name)}.npy`, "application/octet-stream", npyOf(map, await stepsOf(map))));
  }
  add("curves (.csv)", () => offer("curves.csv", "text/csv", [curvesAsCsv()]));
  add("all words and sums (.json)", () => offer("report.json", "application/json", [wordsAsJson()]));
  host.replaceChildren(...buttons);
}
