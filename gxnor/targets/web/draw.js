// Drawing, typing, dropping; and the start.

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

// ---- The start

introduce();
listen();
const warm = new Uint8Array(channels * height * width).map((_, i) => (i * 37) & 255);
for (let i = 0; i < 20; i++) net.run(warm); // browsers compile what runs often: the figures are of compiled code
if (digits) example(3, !matchMedia("(prefers-reduced-motion: reduce)").matches);
else show();
