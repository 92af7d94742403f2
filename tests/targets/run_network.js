// node run_network.js FOLDER: runs the programs that FOLDER/cases.json lists on their inputs, writes FOLDER/results.json.
const fs = require("fs");
const [folder, networkFile] = process.argv.slice(2);
const gxnor = require(networkFile);
const read = (name) => new Uint8Array(fs.readFileSync(`${folder}/${name}`));

const results = JSON.parse(fs.readFileSync(`${folder}/cases.json`)).map(({ program, input, values }) => {
  const net = gxnor.network(read(program), values), size = net.values[0].length, x = read(input);
  const samples = [];
  for (let at = 0; at < x.length; at += size) {
    const bits = new Uint32Array(Float32Array.from(net.run(x.subarray(at, at + size))).buffer);
    samples.push({ logits: [...bits], fired: net.steps.map(({ fired }) => fired ?? null) });
  }
  return { samples, macs: net.steps.map(({ macs }) => macs ?? null) };
});
fs.writeFileSync(`${folder}/results.json`, JSON.stringify(results));
