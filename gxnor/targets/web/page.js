"use strict";
// What is drawn or dropped becomes pixels, the network runs on them, and what it did is shown.

const net = gxnor.network(Uint8Array.from(atob(PROGRAM), (c) => c.charCodeAt(0)), VALUES);
const { program } = net, [channels, height, width] = program.input.shape;
const gray = channels === 1;
const digits = gray && program.classes.join() === "0,1,2,3,4,5,6,7,8,9";
const $ = (id) => document.getElementById(id);
const board = $("board"), pen = { x: 0.5, y: 0.5, down: false, shown: false };
let strokes = [], picture = null; // lists of points within 0..1; or the pixels and the bitmap of an image
let notice = ""; // what is wrong with what was dropped
let tour = 0, byItself = false; // the animation frame of an example; whether the strokes are one

// ---- Words

const TIMES = "\u00a0×\u00a0";
const percent = (part, whole) => (whole ? `${(100 * part / whole).toFixed(1)} %` : "–");
const number = (n) => n.toLocaleString("en");
const products = net.steps.map((step, i) => ({ step, layer: program.layers[i], number: i + 1 })).filter(({ step }) => "macs" in step);
const sum = (list, of) => list.reduce((total, item) => total + of(item), 0);

function introduce() {
  const weights = sum(products, ({ step }) => step.weights), kilobytes = Math.round(PROGRAM.length * 0.75 / 1000);
  const spaces = new Set(program.layers.flatMap(({ weight, N }) => (weight ? weight.N : N ?? [])));
  const most = Math.max(...spaces), states = `one of ${2 ** most + 1} whole numbers`;
  const each = most === 0 ? "−1 or +1" : most === 1 ? "−1, 0 or +1" : states;
  document.title = $("heading").textContent = digits ? "Draw a digit." : "Show it a picture.";
  $("about").textContent =
    `This page is a neural network. Each of its ${number(weights)} weights is ${each}, ` +
    `and so is every signal between its layers: ${number(kilobytes)} KB in all. It runs here, in your browser.`;
  $("keys").textContent = gray
    ? `Mouse, finger or pen; or drop an image. By keyboard: arrows move the pen, space lowers and lifts it, ` +
      `${digits ? "0 to 9 draw an example, " : ""}Escape clears.`
    : "Or paste one. It is cut to a square and shrunk to what the network sees.";
  board.setAttribute("role", gray ? "application" : "img");
  board.setAttribute("aria-label", gray ? "Drawing board. " + $("keys").textContent : "The picture");
  $("seen-caption").textContent = `what it sees: ${width} × ${height}`;
  for (let d = 0; digits && d < 10; d++) {
    const button = document.createElement("button");
    button.type = "button", button.textContent = d, button.ariaLabel = `Draw a ${d}`;
    button.onclick = () => example(d);
    $("examples").append(button);
  }
  for (const { step, layer, number: i } of products) {
    const [outs, ...extents] = net.shapes[i], kernel = layer.weight.shape.slice(2);
    const item = document.createElement("li"), title = document.createElement("div"), name = document.createElement("span");
    name.textContent = layer.kind === "Dense" ? `Dense, ${outs} outputs`
      : `Convolution ${kernel.join(TIMES)}, ${outs} maps of ${extents.join(TIMES)}`;
    step.count = document.createElement("span"), step.count.className = "count";
    title.className = "title", title.append(name, step.count);
    const meter = document.createElement("div");
    step.meter = document.createElement("div"), meter.className = "meter", meter.append(step.meter);
    item.append(title, meter);
    step.shown = statesAfter(i);
    if (step.shown) {
      step.canvas = document.createElement("canvas");
      step.canvas.setAttribute("role", "img"), step.canvas.setAttribute("aria-label", "The signals that come out of this layer");
      item.append(step.canvas);
    }
    $("layers").append(item);
  }
}

// The number of the first Threshold that the value of layer i reaches without another product; 0 if there is none.
function statesAfter(i) {
  const reached = new Set([i]);
  for (let j = i + 1; j <= program.layers.length; j++) {
    const { kind, inputs } = program.layers[j - 1];
    if (!inputs.some((k) => reached.has(k)) || kind === "Conv" || kind === "Dense") continue;
    if (kind === "Threshold") return j;
    reached.add(j);
  }
  return 0;
}

// ---- From ink or an image to the network's pixels

const FINE = 280; // pixels of the board that strokes are drawn on before they shrink
const STROKE = 0.08; // of the board
const sheet = new OffscreenCanvas(FINE, FINE), sheetContext = sheet.getContext("2d", { willReadFrequently: true });

function path(context, size) {
  context.lineWidth = STROKE * size, context.lineCap = context.lineJoin = "round";
  for (const stroke of strokes) {
    context.beginPath();
    stroke.forEach(({ x, y }, i) => (i ? context.lineTo(x * size, y * size) : context.moveTo(x * size, y * size)));
    if (stroke.length === 1) context.lineTo(stroke[0].x * size + 0.01, stroke[0].y * size);
    context.stroke();
  }
}

function inkOfStrokes() {
  sheetContext.clearRect(0, 0, FINE, FINE);
  path(sheetContext, FINE);
  const { data } = sheetContext.getImageData(0, 0, FINE, FINE);
  return Float32Array.from({ length: FINE * FINE }, (_, i) => data[4 * i + 3] / 255);
}

// Shrinks ink (FINE x FINE, 0 to 1) into the network's image; a digit is first scaled and centred: for MNIST into a box of
// 20 of 28 pixels, by its mass, as its images were; for other data into the whole image.
function pixelsOfInk(ink) {
  let [left, right, top, bottom, mass, mx, my] = [FINE, -1, FINE, -1, 0, 0, 0];
  for (let y = 0, i = 0; y < FINE; y++) for (let x = 0; x < FINE; x++, i++) {
    if (ink[i] < 0.1) continue;
    left = Math.min(left, x), right = Math.max(right, x), top = Math.min(top, y), bottom = Math.max(bottom, y);
    mass += ink[i], mx += ink[i] * (x + 0.5), my += ink[i] * (y + 0.5);
  }
  const pixels = new Float32Array(height * width);
  if (!mass) return null;
  const box = program.data === "mnist" ? 20 / 28 : 1;
  const scale = digits ? Math.min(0.9, box * Math.min(width, height) / (Math.max(right - left, bottom - top) + 1)) : width / FINE;
  const [cx, cy] = box < 1 ? [mx / mass, my / mass] : [(left + right + 1) / 2, (top + bottom + 1) / 2];
  const [dx, dy] = digits ? [width / 2 - scale * cx, height / 2 - scale * cy] : [0, 0];
  for (let y = 0, i = 0; y < FINE; y++) for (let x = 0; x < FINE; x++, i++) {
    if (!ink[i]) continue;
    const [x0, y0] = [x * scale + dx, y * scale + dy]; // a fine pixel covers up to two by two of the network's
    for (let v = Math.floor(y0); v < y0 + scale; v++) for (let u = Math.floor(x0); u < x0 + scale; u++) {
      if (u < 0 || v < 0 || u >= width || v >= height) continue;
      const share = (Math.min(u + 1, x0 + scale) - Math.max(u, x0)) * (Math.min(v + 1, y0 + scale) - Math.max(v, y0));
      pixels[v * width + u] += ink[i] * share;
    }
  }
  return Uint8Array.from(pixels, (p) => Math.min(255, Math.round(255 * p)));
}

const fit = digits ? Math.min : Math.max; // a digit is seen whole, another picture fills the square
const luma = (r, g, b) => (19595 * r + 38470 * g + 7471 * b + 32768) >> 16; // as Pillow does it

function pixelsOfImage(bitmap) {
  const exact = bitmap.width === width && bitmap.height === height;
  const [w, h] = exact ? [width, height] : gray ? [FINE, FINE] : [8 * width, 8 * height];
  const context = new OffscreenCanvas(w, h).getContext("2d");
  context.fillStyle = "#fff";
  context.fillRect(0, 0, w, h);
  const scale = fit(w / bitmap.width, h / bitmap.height);
  const [bw, bh] = [bitmap.width * scale, bitmap.height * scale];
  context.imageSmoothingEnabled = !exact;
  context.drawImage(bitmap, (w - bw) / 2, (h - bh) / 2, bw, bh);
  const { data } = context.getImageData(0, 0, w, h);
  const light = (i) => luma(data[4 * i], data[4 * i + 1], data[4 * i + 2]);
  if (exact) {
    const at = gray ? (i) => light(i) : (i) => data[4 * (i % (h * w)) + Math.floor(i / (h * w))];
    return Uint8Array.from({ length: channels * h * w }, (_, i) => at(i));
  }
  if (gray) return pixelsOfInk(inkOfPhoto(Float32Array.from({ length: w * h }, (_, i) => light(i))));
  const pixels = new Uint8Array(channels * height * width);
  for (let c = 0, i = 0; c < channels; c++) for (let y = 0; y < height; y++) for (let x = 0; x < width; x++, i++) {
    let total = 0;
    for (let b = 0; b < 8; b++) for (let a = 0; a < 8; a++) total += data[4 * ((8 * y + b) * w + 8 * x + a) + c];
    pixels[i] = Math.round(total / 64);
  }
  return pixels;
}

// Ink is what differs from the background, which is what the border shows.
function inkOfPhoto(light) {
  if (!digits) return light.map((v) => v / 255);
  const border = [];
  for (let k = 0; k < FINE; k++) border.push(light[k], light[(FINE - 1) * FINE + k], light[k * FINE], light[k * FINE + FINE - 1]);
  const background = border.sort((a, b) => a - b)[border.length / 2];
  let most = 40; // a photo without anything on it stays empty
  for (const v of light) most = Math.max(most, Math.abs(v - background));
  return light.map((v) => Math.min(1, Math.max(0, Math.abs(v - background) / most - 0.25) / 0.5));
}

// ---- Running and showing

let asked = 0;
const times = [];

function changed() {
  asked ||= requestAnimationFrame(() => {
    asked = 0;
    show();
  });
}

function timed(pixels) {
  const start = performance.now();
  net.run(pixels);
  times.push(performance.now() - start);
  if (times.length > 100) times.shift();
  const middle = [...times].sort((a, b) => a - b).slice(times.length >> 2, (3 * times.length >> 2) + 1);
  return sum(middle, (t) => t) / middle.length; // clocks of browsers are coarse, their mean is not
}

function show() {
  const pixels = picture ? picture.pixels : strokes.length ? pixelsOfInk(inkOfStrokes()) : null;
  const colours = Object.fromEntries(["paper", "card", "ink", "plus", "minus", "rest", "soft"].map((name) => [name, rgb(name)]));
  $("time").textContent = `${timed(pixels ?? new Uint8Array(channels * height * width)).toFixed(2)} ms`;
  showBoard(colours);
  showSeen(pixels, colours);
  showScores(pixels);
  showLayers(colours);
}

const rgb = (name) => {
  const value = getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();
  return [1, 3, 5].map((i) => parseInt(value.slice(i, i + 2), 16));
};

function showBoard({ ink, soft }) {
  const context = board.getContext("2d"), size = board.width;
  context.clearRect(0, 0, size, size);
  if (picture) {
    const { bitmap } = picture, scale = fit(size / bitmap.width, size / bitmap.height);
    const [w, h] = [bitmap.width * scale, bitmap.height * scale];
    context.imageSmoothingEnabled = scale < 4;
    context.drawImage(bitmap, (size - w) / 2, (size - h) / 2, w, h);
  }
  context.strokeStyle = `rgb(${ink})`;
  path(context, size);
  if (pen.shown) {
    context.strokeStyle = context.fillStyle = `rgb(${soft})`, context.lineWidth = 3;
    context.beginPath(), context.arc(pen.x * size, pen.y * size, STROKE * size / 2 + 3, 0, 7), context.stroke();
    if (pen.down) context.fill();
  }
  $("hint").hidden = picture !== null || strokes.length > 0;
  $("hint").textContent = notice || (gray ? "Draw here" : "Drop a picture here, or open one");
}

function paint(canvas, w, h, colour) {
  if (canvas.width !== w || canvas.height !== h) [canvas.width, canvas.height] = [w, h];
  const image = new ImageData(w, h);
  for (let y = 0, i = 0; y < h; y++) for (let x = 0; x < w; x++, i += 4) {
    const shade = colour(x, y);
    if (shade) image.data.set(shade, i), image.data[i + 3] = 255;
  }
  canvas.getContext("2d").putImageData(image, 0, 0);
}

const mix = (a, b, t) => a.map((v, i) => v + (b[i] - v) * t);

function showSeen(pixels, { paper, ink }) {
  const size = width * height;
  paint($("seen"), width, height, (x, y) => {
    const i = y * width + x;
    return !pixels ? paper : gray ? mix(paper, ink, pixels[i] / 255) : [pixels[i], pixels[size + i], pixels[2 * size + i]];
  });
}

function showScores(pixels) {
  const scores = [...net.logits], { classes } = program, best = scores.indexOf(Math.max(...scores));
  const verdict = pixels ? classes[best] : "?";
  if ($("class").textContent !== verdict) $("class").textContent = verdict;
  $("class").classList.toggle("short", verdict.length < 3);
  $("class").style.setProperty("--longest", Math.max(...verdict.split(" ").map((word) => word.length)));
  let rows = scores.map((score, i) => ({ score, i }));
  if (rows.length > 12) rows = rows.sort((a, b) => b.score - a.score).slice(0, 10);
  const [low, high] = [Math.min(0, ...scores), Math.max(0, ...scores)], span = high - low || 1;
  $("scores").replaceChildren(...rows.map(({ score, i }) => {
    const item = document.createElement("li"), parts = ["name", "axis", "score"].map((name) => {
      const part = document.createElement("span");
      part.className = name;
      return part;
    });
    parts[0].textContent = classes[i], parts[2].textContent = pixels ? score.toFixed(2).replace("-", "−") : "";
    if (pixels) {
      const bar = document.createElement("span");
      bar.className = "bar";
      bar.style.left = `${100 * (Math.min(0, score) - low) / span}%`, bar.style.width = `${100 * Math.abs(score) / span}%`;
      parts[1].append(bar);
    }
    item.append(...parts);
    if (pixels && i === best) item.className = "best";
    return item;
  }));
}

function showLayers({ card, rest, plus, minus }) {
  for (const { step } of products) {
    step.count.textContent = `${number(step.fired)} of ${number(step.macs)} fire, ${percent(step.macs - step.fired, step.macs)} rest`;
    step.meter.style.width = `${100 * step.fired / step.macs}%`;
    if (!step.shown) continue;
    const values = net.values[step.shown], [maps, h, w] = [...net.shapes[step.shown], 1, 1];
    const top = Math.max(1, 2 ** (program.layers[step.shown - 1].N - 1));
    const zoom = w > 7 ? 1 : w > 2 ? 2 : 3, [tw, th] = [w * zoom + 1, h * zoom + 1];
    const wide = Math.sqrt((step.canvas.clientWidth > 500 ? 8 : 3) * maps * th / tw); // 8 or 3 times as wide as high
    let columns = maps;
    const off = (n) => Math.abs(Math.log(n / wide));
    for (let n = maps - 1; n > 0; n--) if (maps % n === 0 && off(n) < off(columns) - 1e-9) columns = n;
    const rows = maps / columns;
    paint(step.canvas, columns * tw - 1, rows * th - 1, (x, y) => {
      const [a, b] = [x % tw, y % th], map = Math.floor(y / th) * columns + Math.floor(x / tw);
      if (a === tw - 1 || b === th - 1) return card;
      const value = values[(map * h + Math.floor(b / zoom)) * w + Math.floor(a / zoom)];
      return mix(rest, value > 0 ? plus : minus, Math.abs(value) / top);
    });
  }
  const fired = sum(products, ({ step }) => step.fired), macs = sum(products, ({ step }) => step.macs);
  $("resting").textContent = percent(macs - fired, macs);
  $("zero-weights").textContent = percent(sum(products, ({ step }) => step.zeros), sum(products, ({ step }) => step.weights));
  const signals = products.flatMap(({ layer }) => (layer.inputs[0] ? [net.values[layer.inputs[0]]] : []));
  $("zero-signals").textContent = percent(sum(signals, (v) => v.reduce((n, x) => n + (x === 0), 0)), sum(signals, (v) => v.length));
}

// ---- Drawing, typing, dropping

function clear() {
  cancelAnimationFrame(tour);
  strokes = [], picture = null, notice = "", byItself = false, pen.down = false;
  changed();
}

function takeOver() { // whoever draws does not draw over an example or an image
  if (picture || byItself) clear();
}

function pointTo(event) {
  const box = board.getBoundingClientRect();
  return { x: (event.clientX - box.left) / box.width, y: (event.clientY - box.top) / box.height };
}

function listen() {
  if (gray) {
    board.addEventListener("pointerdown", (event) => {
      if (event.button) return;
      takeOver();
      board.setPointerCapture(event.pointerId);
      pen.shown = pen.down = false;
      strokes.push([pointTo(event)]);
      changed();
    });
    board.addEventListener("pointermove", (event) => {
      if (!board.hasPointerCapture(event.pointerId)) return;
      for (const e of event.getCoalescedEvents?.() ?? [event]) strokes.at(-1).push(pointTo(e));
      changed();
    });
  }
  $("clear").onclick = clear;
  $("open").onclick = () => $("file").click();
  $("file").onchange = () => open($("file").files[0]);
  addEventListener("dragover", (event) => { event.preventDefault(), $("drop").classList.add("over"); });
  addEventListener("dragleave", () => $("drop").classList.remove("over"));
  addEventListener("drop", (event) => {
    event.preventDefault(), $("drop").classList.remove("over");
    open(event.dataTransfer.files[0]);
  });
  addEventListener("paste", (event) => open([...event.clipboardData.files][0]));
  addEventListener("keydown", key);
  addEventListener("resize", changed);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", changed);
}

function key(event) {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  if (digits && /^[0-9]$/.test(event.key)) return example(Number(event.key));
  if (event.key === "Escape" || event.key === "Delete") return clear();
  const move = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[event.key];
  if (!gray || document.activeElement !== board || !(move || event.key === " ")) return;
  event.preventDefault();
  takeOver();
  pen.shown = true;
  if (move) {
    pen.x = Math.min(1, Math.max(0, pen.x + move[0] / 28)), pen.y = Math.min(1, Math.max(0, pen.y + move[1] / 28));
    if (pen.down) strokes.at(-1).push({ x: pen.x, y: pen.y });
  } else {
    pen.down = !pen.down;
    if (pen.down) strokes.push([{ x: pen.x, y: pen.y }]);
  }
  changed();
}

async function open(blob) {
  if (!blob) return;
  try {
    const bitmap = await createImageBitmap(blob, { colorSpaceConversion: "none" });
    clear();
    picture = { bitmap, pixels: pixelsOfImage(bitmap) };
    changed();
  } catch {
    clear();
    notice = "This is not an image that the browser can read.";
  }
}

// ---- Examples: strokes of arcs and lines, within 0..1

const arc = (cx, cy, rx, ry, from, to) => Array.from({ length: 25 }, (_, i) => {
  const angle = (from + (to - from) * i / 24) * Math.PI / 180;
  return [cx + rx * Math.cos(angle), cy + ry * Math.sin(angle)];
});
const EXAMPLES = [
  [arc(0.5, 0.5, 0.2, 0.3, -80, 280)],
  [[[0.4, 0.32], [0.53, 0.2], [0.5, 0.8]]],
  [[...arc(0.49, 0.37, 0.19, 0.17, 195, 390), [0.3, 0.78], [0.72, 0.78]]],
  [[...arc(0.47, 0.35, 0.18, 0.15, 205, 440), ...arc(0.47, 0.65, 0.21, 0.16, -80, 160)]],
  [[[0.36, 0.2], [0.3, 0.52], [0.7, 0.5]], [[0.64, 0.2], [0.6, 0.82]]],
  [[[0.68, 0.2], [0.4, 0.21], [0.36, 0.47], ...arc(0.47, 0.62, 0.19, 0.18, -120, 150)]],
  [[[0.58, 0.18], ...arc(0.52, 0.5, 0.2, 0.3, 220, 160), ...arc(0.5, 0.64, 0.17, 0.16, 170, 530)]],
  [[[0.3, 0.24], [0.7, 0.22], [0.56, 0.5], [0.46, 0.8]]],
  [[...arc(0.5, 0.35, 0.15, 0.15, 90, -270), ...arc(0.5, 0.65, 0.18, 0.15, -90, 270)]],
  [[...arc(0.5, 0.36, 0.17, 0.16, 0, -340), [0.66, 0.36], [0.64, 0.6], [0.58, 0.82]]],
].map((digit) => digit.map((stroke) => stroke.map(([x, y]) => ({ x, y }))));

function example(d, slowly = false) {
  clear();
  byItself = true;
  strokes = EXAMPLES[d];
  if (!slowly) return;
  const total = sum(EXAMPLES[d], (stroke) => stroke.length), begun = performance.now();
  const frame = () => {
    let left = Math.ceil(total * Math.min(1, (performance.now() - begun) / 900));
    if (left < total) tour = requestAnimationFrame(frame);
    strokes = EXAMPLES[d].map((stroke) => stroke.slice(0, Math.max(0, (left -= stroke.length) + stroke.length)))
      .filter((stroke) => stroke.length);
    changed();
  };
  frame();
}

introduce();
listen();
const warm = new Uint8Array(channels * height * width).map((_, i) => (i * 37) & 255);
for (let i = 0; i < 20; i++) net.run(warm); // browsers compile what runs often: the figures are of compiled code
if (digits) example(3, !matchMedia("(prefers-reduced-motion: reduce)").matches);
else show();
