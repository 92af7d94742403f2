// From strokes or an image to the network's pixels.

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
