// What the page shows: itself, what is on the board, and what the network did with it.

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
