"use strict";
// A .gxnor program, read and run: every logit equals the reference interpreter's, bit for bit.
// The exporter has checked the file; `values` says what it knows of every value: [shape, bound].

const gxnor = (() => {
  const level = (N, n) => (N === 0 ? 2 * n - 1 : n - 2 ** (N - 1));

  // ---- The file: docs/format.md.

  function read(bytes) {
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    const start = 8 + Number(view.getBigUint64(0, true));
    const header = JSON.parse(new TextDecoder().decode(bytes.subarray(8, start)));
    const program = JSON.parse(header.__metadata__.gxnor);
    const types = {
      U8: Uint8Array, I8: Int8Array, I16: Int16Array, I32: Int32Array, I64: BigInt64Array, F32: Float32Array,
    };
    const tensor = (name) => {
      const { dtype, data_offsets: [from, to] } = header[name];
      return new types[dtype](bytes.slice(start + from, start + to).buffer);
    };
    program.layers.forEach((layer, i) => {
      const name = `${i + 1}.`;
      if (layer.weight) layer.weight.levels = weightLevels(tensor(name + "weight"), layer.weight);
      if (layer.kind === "Threshold") {
        layer.thresholds = thresholds(tensor(name + "thresholds"));
        const bits = tensor(name + "sign");
        layer.sign = (c) => ((bits[c >> 3] >> (c & 7)) & 1 ? 1 : -1);
      }
      const more = { Scale: ["scale", "bias"], Requantize: ["multiplier", "offset"], Channels: ["order"] };
      for (const field of more[layer.kind] ?? []) layer[field] = tensor(name + field);
    });
    return program;
  }

  function weightLevels(packed, { N, shape }) {
    const states = 2 ** N + 1, digits = Math.floor(8 / Math.log2(states));
    const levels = new Int8Array(shape.reduce((a, b) => a * b));
    for (let i = 0; i < levels.length; i++) {
      levels[i] = level(N, Math.floor(packed[Math.floor(i / digits)] / states ** (i % digits)) % states);
    }
    return levels;
  }

  function thresholds(narrow) {
    const bits = 8 * narrow.BYTES_PER_ELEMENT, always = -(2 ** (bits - 1)), never = 2 ** (bits - 1) - 1;
    return Float64Array.from(narrow, (t) => (t === always ? -Infinity : t === never ? Infinity : t));
  }

  // ---- The network: a function for every layer, writing into an array that is made once.

  // A sample's axes as channels, rows, columns; sizes of windows as those of rows and columns.
  const axes = ([c, ...rest]) => [c, ...Array(2 - rest.length).fill(1), ...rest];
  const pair = (sizes, other) => (sizes ? [...Array(2 - sizes.length).fill(other), ...sizes] : [other, other]);

  // Windows of `fan` channels over x: `refresh` copies x into `padded`, with `edge` around it; tap t of the window at
  // row r and column q of group g is padded[corner(g, r, q) + offset[t]].
  function windows(layer, kernel, fan, x, [channels, H, W], [, rows, columns], edge) {
    const [kh, kw] = pair(kernel, 1), [sh, sw] = pair(layer.stride, 1);
    const [ph, pw] = pair(layer.padding, 0), [dh, dw] = pair(layer.dilation, 1);
    const PH = Math.max(H + ph, (rows - 1) * sh + dh * (kh - 1) + 1 - ph) + ph;
    const PW = Math.max(W + pw, (columns - 1) * sw + dw * (kw - 1) + 1 - pw) + pw;
    const padded = new Int32Array(channels * PH * PW).fill(edge), offset = new Int32Array(fan * kh * kw);
    for (let t = 0; t < offset.length; t++) {
      const [c, a, b] = [Math.floor(t / (kh * kw)), Math.floor(t / kw) % kh, t % kw];
      offset[t] = (c * PH + a * dh) * PW + b * dw;
    }
    const inside = (count, size, k, s, p, d) => { // of all windows along an axis, the taps that are not padding
      let taps = 0;
      for (let r = 0; r < count; r++) for (let a = 0; a < k; a++) taps += r * s + a * d >= p && r * s + a * d < p + size;
      return taps;
    };
    return {
      padded, offset,
      taps: fan * inside(rows, H, kh, sh, ph, dh) * inside(columns, W, kw, sw, pw, dw),
      corner: (g, r, q) => (g * fan * PH + r * sh) * PW + q * sw,
      refresh() {
        for (let c = 0, i = 0; c < channels; c++) for (let h = 0; h < H; h++) {
          const to = (c * PH + h + ph) * PW + pw;
          for (let w = 0; w < W; w++, i++) padded[to + w] = x[i];
        }
      },
    };
  }

  function network(bytes, values) {
    const program = read(bytes);
    const out = values.map(([shape]) => new Int32Array(shape.reduce((a, b) => a * b)));
    const logits = new Float32Array(out.at(-1).length);
    const steps = program.layers.map((layer, i) => {
      const [x, ...others] = layer.inputs.map((j) => out[j]);
      const [from] = layer.inputs.map((j) => axes(values[j][0]));
      const further = layer.kind === "Scale" ? logits : others;
      return makers[layer.kind](layer, x, out[i + 1], from, axes(values[i + 1][0]), values[i + 1][1], further);
    });
    const N = program.input.N;
    return {
      program, steps, logits, values: out, shapes: values.map(([shape]) => shape),
      // Uint8Array of pixels or state indices -> Float32Array of logits; `values` and the `fired` of steps are its traces.
      run(x) {
        for (let i = 0; i < x.length; i++) out[0][i] = N === null ? 2 * x[i] - 255 : level(N, x[i]);
        for (const step of steps) step.run();
        return logits;
      },
    };
  }

  const makers = {
    Conv: (layer, x, y, from, to, bound) => products(layer, layer.weight.shape.slice(2), x, y, from, to, bound),
    Dense: (layer, x, y, from, to, bound) => products(layer, [], x, y, from, to, bound),
    Threshold(layer, x, y, [channels]) {
      const count = layer.thresholds.length / channels, size = x.length / channels;
      const run = () => {
        for (let c = 0, i = 0; c < channels; c++) {
          const sign = layer.sign(c), steps = layer.thresholds.subarray(c * count, (c + 1) * count);
          for (const end = i + size; i < end; i++) {
            let state = 0;
            while (state < count && sign * x[i] >= steps[state]) state++; // they ascend
            y[i] = level(layer.N, state);
          }
        }
      };
      return { run };
    },
    MaxPool: (layer, x, y, from, to) => pool(layer, x, y, from, to, true),
    SumPool: (layer, x, y, from, to) => pool(layer, x, y, from, to, false),
    Add({ factors: [a, b] }, x, y, from, to, bound, [other]) {
      return { run: () => { for (let i = 0; i < y.length; i++) y[i] = a * x[i] + b * other[i]; } };
    },
    Flatten: (layer, x, y) => ({ run: () => y.set(x) }),
    Requantize({ multiplier, offset, shift }, x, y, [channels]) {
      const size = x.length / channels;
      const run = () => {
        const most = x.reduce((largest, value) => Math.max(largest, Math.abs(value)), 0);
        for (let c = 0, i = 0; c < channels; c++) {
          const factor = multiplier[c], added = Number(offset[c]);
          const exact = Math.abs(factor) * most + Math.abs(added) < 2 ** 53; // in doubles
          const scaled = exact ? (value) => Math.floor((factor * value + added) / 2 ** shift)
            : (value) => Number((BigInt(factor) * BigInt(value) + offset[c]) >> BigInt(shift));
          for (const end = i + size; i < end; i++) y[i] = scaled(x[i]);
        }
      };
      return { run };
    },
    Concat(layer, x, y, from, to, bound, others) {
      return { run: () => { [x, ...others].reduce((at, each) => { y.set(each, at); return at + each.length; }, 0); } };
    },
    Pad({ before }, x, y, [channels, H, W], [, rows, columns]) {
      const [top, left] = pair(before, 0);
      const run = () => {
        for (let c = 0; c < channels; c++) for (let h = 0; h < H; h++) {
          const at = (c * H + h) * W;
          y.set(x.subarray(at, at + W), (c * rows + h + top) * columns + left);
        }
      };
      return { run };
    },
    Upsample({ factors }, x, y, [, H, W], [channels, rows, columns]) {
      const [tall, wide] = pair(factors, 1);
      const run = () => {
        for (let c = 0, i = 0; c < channels; c++) for (let r = 0; r < rows; r++) for (let q = 0; q < columns; q++, i++) {
          y[i] = x[(c * H + Math.floor(r / tall)) * W + Math.floor(q / wide)];
        }
      };
      return { run };
    },
    Channels({ order }, x, y, [channels]) {
      const size = x.length / channels;
      return { run: () => order.forEach((c, i) => y.set(x.subarray(c * size, (c + 1) * size), i * size)) };
    },
    Scale({ scale, bias }, x, y, [channels], to, bound, logits) {
      const size = x.length / channels;
      // One rounding to float32 after the product and one after the sum, as the double before them is exact enough.
      const run = () => {
        for (let i = 0; i < logits.length; i++) {
          const c = Math.floor(i / size);
          logits[i] = Math.fround(Math.fround(x[i]) * scale[c]) + bias[c];
        }
      };
      return { run };
    },
  };

  function pool(layer, x, y, from, to, largest) {
    const { padded, offset, corner, refresh } = windows(layer, layer.kernel, 1, x, from, to, largest ? -(2 ** 31) : 0);
    const [channels, rows, columns] = to, join = largest ? largestOf : sumOf;
    const run = () => {
      refresh();
      for (let c = 0, i = 0; c < channels; c++) {
        for (let r = 0; r < rows; r++) for (let q = 0; q < columns; q++, i++) y[i] = join(padded, corner(c, r, q), offset);
      }
    };
    return { run };
  }

  function largestOf(padded, corner, offset) {
    let value = padded[corner + offset[0]];
    for (let t = 1; t < offset.length; t++) value = Math.max(value, padded[corner + offset[t]]);
    return value;
  }

  function sumOf(padded, corner, offset) {
    let value = 0;
    for (let t = 0; t < offset.length; t++) value += padded[corner + offset[t]];
    return value;
  }

  // Sums of products, event by event: an input of zero is skipped, and takes no work. One double holds several sums side
  // by side, `bits` apart: sum 0 + sum 1 * 2^bits + ..., as many as its 53 bits have room for. A multiplication and an
  // addition then serve that many outputs at once, and all of them stay exact.
  function products(layer, kernel, x, y, from, to, bound) {
    const { weight: { levels }, groups = 1 } = layer, [outs, rows, columns] = to;
    const fan = from[0] / groups, mine = outs / groups;
    const { padded, offset, taps: inside, corner, refresh } = windows(layer, kernel, fan, x, from, to, 0);
    const taps = offset.length;
    const bits = Math.ceil(Math.log2(bound + 1)) + 1, base = 2 ** bits;
    const lanes = Math.max(1, Math.floor(53 / bits)), blocks = Math.ceil(mine / lanes / 8); // of eight doubles
    const packed = new Float64Array(groups * blocks * taps * 8), alive = new Int32Array(groups * taps);
    for (let o = 0; o < outs; o++) {
      const g = Math.floor(o / mine), word = Math.floor((o % mine) / lanes), block = g * blocks + Math.floor(word / 8);
      for (let t = 0; t < taps; t++) {
        const w = levels[o * taps + t];
        packed[(block * taps + t) * 8 + (word % 8)] += w * base ** ((o % mine) % lanes);
        alive[g * taps + t] += w !== 0; // weights that an input at this tap meets
      }
    }

    // The events of a window: their taps, and the signals that come in. The sums that share doubles, eight at a time.
    const hits = new Int32Array(taps), signals = new Float64Array(taps), sums = new Float64Array(8);
    const step = {
      fired: 0, macs: outs * inside, weights: levels.length,
      zeros: levels.reduce((zeros, w) => zeros + (w === 0), 0),
    };
    step.run = () => {
      refresh();
      step.fired = 0;
      for (let g = 0; g < groups; g++) for (let r = 0; r < rows; r++) for (let q = 0; q < columns; q++) {
        const count = collect(padded, corner(g, r, q), offset, hits, signals);
        step.fired += total(alive, g * taps, hits, count);
        for (let block = 0; block < blocks; block++) {
          add(packed, (g * blocks + block) * taps * 8, hits, signals, count, sums);
          const first = 8 * lanes * block, size = rows * columns;
          unpack(sums, y, (g * mine + first) * size + r * columns + q, size, Math.min(mine - first, 8 * lanes), lanes, base);
        }
      }
    };
    return step;
  }

  function collect(padded, corner, offset, hits, signals) {
    let count = 0;
    for (let t = 0; t < offset.length; t++) {
      const signal = padded[corner + offset[t]];
      if (signal !== 0) {
        hits[count] = t;
        signals[count++] = signal;
      }
    }
    return count;
  }

  function total(alive, first, hits, count) {
    let sum = 0;
    for (let e = 0; e < count; e++) sum += alive[first + hits[e]];
    return sum;
  }

  function add(packed, first, hits, signals, count, sums) {
    let s0 = 0, s1 = 0, s2 = 0, s3 = 0, s4 = 0, s5 = 0, s6 = 0, s7 = 0;
    for (let e = 0; e < count; e++) {
      const at = first + 8 * hits[e], signal = signals[e];
      s0 += signal * packed[at];
      s1 += signal * packed[at + 1];
      s2 += signal * packed[at + 2];
      s3 += signal * packed[at + 3];
      s4 += signal * packed[at + 4];
      s5 += signal * packed[at + 5];
      s6 += signal * packed[at + 6];
      s7 += signal * packed[at + 7];
    }
    sums[0] = s0, sums[1] = s1, sums[2] = s2, sums[3] = s3, sums[4] = s4, sums[5] = s5, sums[6] = s6, sums[7] = s7;
  }

  // Sum after sum of the eight doubles, at y[at], y[at + size], ...
  function unpack(sums, y, at, size, count, lanes, base) {
    for (let k = 0, o = 0; k < 8; k++) {
      for (let rest = sums[k], l = 0; l < lanes && o < count; l++, o++, at += size) {
        const next = Math.floor(rest / base + 0.5);
        y[at] = rest - next * base;
        rest = next;
      }
    }
  }

  return { network };
})();

if (typeof module !== "undefined") module.exports = gxnor;
