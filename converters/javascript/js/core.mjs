// Loads and runs one request's model with whatever tfjs it is given. The same file runs in Node and in the page,
// so that both answer by the same rules.

import { timesOf, pack, post, received, sameNames } from "./messages.mjs";

// The WebAssembly kernels do not throw where they lack a dtype: they print, and leave the output as it was in memory
// (tfjs-backend-wasm/src/cc, util::warn).
const LACKING = /failed\. ?Un(known|supported) (\w+ )?(dtype|input_type)/;
const lacking = [];
// A model may need a kernel to be loaded, as complex weights do.
const NO_KERNEL = /^Kernel '\w+' not registered/;

/** Starts `backend`; returns the words that describe it, or null where it does not start. */
export async function start(tf, backend) {
  tf.enableProdMode();
  listen();
  if (!tf.findBackendFactory(backend)) return null;
  if (!(await tf.setBackend(backend).catch(() => false))) return null;
  await tf.ready();
  requireBackend(tf, backend);
  const half = backend === "webgl" && !tf.env().getBool("WEBGL_RENDER_FLOAT32_ENABLED");
  return `tfjs ${tf.version.tfjs} ${backend}${half ? " with float16 textures" : ""}`;
}

/** What WebGL renders with, in its own words; null where it does not say. */
export function renderer(tf) {
  const gl = tf.backend().gpgpu?.gl;
  const told = gl?.getExtension("WEBGL_debug_renderer_info");
  return told ? gl.getParameter(told.UNMASKED_RENDERER_WEBGL) : null;
}

/** Notes in `lacking` what kernels print of dtypes; a backend takes hold of console.warn when it starts. */
function listen() {
  if (console.warn.listens) return;
  const warn = console.warn.bind(console);
  console.warn = (...words) => {
    if (LACKING.test(words.join(" "))) lacking.push(words.join(" "));
    warn(...words);
  };
  console.warn.listens = true;
}

function requireBackend(tf, backend) {
  if (tf.getBackend() !== backend) throw new Error(`tfjs used backend ${tf.getBackend()} in place of ${backend}`);
}

/** Fetches request `index`, runs it, and posts its answer: outputs, or the error's text. Returns whether it ran. */
export async function answer(tf, backend, base, index) {
  const { header, payload } = await received(base, index);
  const directory = `${base}/models/${index}/`;
  let message;
  let failed = false;
  lacking.length = 0;
  try {
    message = await run(tf, header, directory + encodeURIComponent(header.model), payload);
    requireBackend(tf, backend);
    if (lacking.length) throw Object.assign(new Error(lacking[0]), { computing: true });
  } catch (error) {
    failed = true;
    const said = String(error?.message ?? error).replaceAll(directory, "");
    message = pack({ error: said, computing: error?.computing === true || NO_KERNEL.test(said) }, []);
  }
  await post(base, index, message);
  return !failed;
}

/** What a request's model at `url` makes of its calls, as a message: a header, and the outputs' bytes. */
export async function run(tf, header, url, payload) {
  const { model, call } = await loaded(tf, header, url);
  const weights = header.kind === "graph" ? Object.values(model.weights).flat() : [];
  const cases = [];
  const chunks = [];
  let times = [];
  try {
    for (const [number, described] of header.cases.entries()) {
      const inputs = Object.fromEntries(described.map((tensor) => [tensor.name, toTensor(tf, tensor, payload)]));
      const spared = new Set([...Object.values(inputs), ...weights]);
      try {
        let outputs;
        const started = performance.now();
        try {
          outputs = await call(inputs);
          cases.push(await read(outputs, chunks));
        } catch (error) {
          if (header.locate) throw Object.assign(new Error(await located(model, inputs, error)), { computing: true });
          // The model was loaded, so this may be the backend's: what it has no kernel for it says in many ways.
          throw Object.assign(error instanceof Error ? error : new Error(String(error)), { computing: true });
        }
        free(outputs, spared);
        const took = performance.now() - started;
        if (header.timed && number === header.cases.length - 1)
          times = await timesOf(() => time(() => call(inputs), spared), took);
      } finally {
        tf.dispose(inputs);
      }
    }
  } finally {
    model.dispose();
  }
  return pack({ cases, times }, chunks);
}

/** Where a graph model fails: "node NAME (OP)", with what tfjs says of it; an error of JavaScript's own says nothing. */
async function located(model, inputs, error) {
  const ordered = [];
  const seen = new Set();
  const waiting = Object.values(model.executor.graph.nodes).map((node) => [node, false]);
  while (waiting.length) {
    const [node, complete] = waiting.pop();
    if (complete) ordered.push(node);
    else if (!seen.has(node)) {
      seen.add(node);
      waiting.push([node, true], ...node.inputs.map((input) => [input, false]));
    }
  }
  const nodes = ordered.filter(({ op }) => !["Const", "Placeholder", "NoOp"].includes(op));
  let [first, end, said] = [0, nodes.length, error];
  while (first < end) {
    const middle = (first + end) >> 1;
    try {
      await model.executeAsync({ ...inputs }, nodes.slice(0, middle + 1).map(({ name }) => name));
      first = middle + 1;
    } catch (failure) {
      [end, said] = [middle, failure];
    }
  }
  const words = said?.constructor === Error ? said.message : "";
  const at = nodes[first];
  return at ? `node ${at.name} (${at.op})${words && `: ${words}`}` : words;
}

/** The model, and what calls it by names. With `every` a call returns what each layer does too. */
async function loaded(tf, { kind, every }, url) {
  if (kind === "graph") {
    const model = await tf.loadGraphModel(url);
    return { model, call: graphCall(model) };
  }
  if (every) return (await import("./examine.mjs")).examined(tf, url, every);
  const model = await tf.loadLayersModel(url);
  return { model, call: layersCall(model) };
}

/** Inputs and outputs go by the signature's names; tfjs itself maps them to the graph's tensors. */
function graphCall(model) {
  const signature = model.modelSignature;
  if (!signature?.inputs && !signature?.outputs) throw new Error("model.json holds no signature");
  const names = Object.keys(signature.outputs ?? {});
  // A hash table is an input of the graph too; the model feeds it to itself.
  const expected = Object.keys(signature.inputs ?? {}).filter((name) => signature.inputs[name].resourceId == null);
  let asynchronous = false;
  return async (inputs) => {
    sameNames(expected, inputs);
    let outputs;
    try {
      if (!asynchronous) outputs = model.execute({ ...inputs }, names);
    } catch {
      // execute() refuses control flow and dynamic shapes; if the failure is another, executeAsync() repeats it.
      asynchronous = true;
    }
    if (asynchronous) outputs = await model.executeAsync({ ...inputs }, names);
    return named(names, outputs);
  };
}

/** `names` are those of the outputs. */
export function layersCall(model, names) {
  if (!model.built) model.build(); // A Sequential model has no names of inputs before.
  return async (inputs) => {
    sameNames(model.inputNames, inputs);
    const ordered = model.inputNames.map((name) => inputs[name]);
    // One batch: the default of 32 would cut a larger case in pieces.
    const batchSize = Math.max(1, ordered[0].shape[0] ?? 1);
    return named(names ?? model.outputNames, model.predict(ordered, { batchSize }));
  };
}

function named(names, outputs) {
  const list = Array.isArray(outputs) ? outputs : [outputs];
  if (new Set(names).size !== list.length)
    throw new Error(`${list.length} outputs for the names [${names}]: they cannot be told apart`);
  return names.map((name, index) => [name, list[index]]);
}

/** Copies the outputs' data into `chunks`, and returns their descriptions. */
async function read(outputs, chunks) {
  const described = [];
  for (const [name, tensor] of outputs) {
    const entry = { name, dtype: tensor.dtype, shape: tensor.shape };
    // What a kernel makes of a size that it does not know is no number.
    if (!tensor.shape.every(Number.isInteger)) throw new Error(`output ${name} has the shape [${tensor.shape}]`);
    if (tensor.dtype === "string") {
      const strings = await tensor.bytes();
      entry.lengths = strings.map((bytes) => bytes.length);
      chunks.push(...strings);
    } else {
      const data = await tensor.data();
      const type = { int32: Int32Array, bool: Uint8Array }[tensor.dtype] ?? Float32Array;
      const typed = data instanceof type ? data : type.from(data);
      chunks.push(new Uint8Array(typed.buffer, typed.byteOffset, typed.byteLength).slice());
    }
    described.push(entry);
  }
  return described;
}

/** Milliseconds of a call with its outputs brought back to the CPU. */
async function time(call, spared) {
  const started = performance.now();
  const outputs = await call();
  await Promise.all(outputs.map(([, tensor]) => tensor.bytes()));
  const took = performance.now() - started;
  free(outputs, spared);
  return took;
}

/** Frees outputs, but not those of `spared`: a model may return an input or a weight as it is. */
function free(outputs, spared) {
  for (const [, tensor] of outputs) if (!spared.has(tensor) && !tensor.isDisposed) tensor.dispose();
}

function toTensor(tf, { dtype, shape, offset, bytes, lengths }, payload) {
  if (dtype === "string") {
    let at = offset;
    const strings = lengths.map((length) => new Uint8Array(payload, (at += length) - length, length));
    return tf.tensor(strings, shape, "string");
  }
  const type = { int32: Int32Array, bool: Uint8Array }[dtype] ?? Float32Array;
  const values = new type(payload.slice(offset, offset + bytes));
  if (dtype !== "complex64") return tf.tensor(values, shape, dtype);
  const part = (which) => tf.tensor(values.filter((_, index) => index % 2 === which), shape, "float32");
  return tf.tidy(() => tf.complex(part(0), part(1)));
}
