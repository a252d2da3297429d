// Loads and runs a TF Lite file in LiteRT.js, in a page. Messages in and out are those of core.mjs.

import { Tensor, getDefaultEnvironment, loadAndCompile, loadLiteRt, supportsFeature } from "@litertjs/core";
import { timesOf, pack, post, received, sameNames } from "./messages.mjs";

const TYPES = {
  float32: Float32Array, int32: Int32Array, uint8: Uint8Array, // Those of its Tensor; the others its WebAssembly alone takes.
  int8: Int8Array, int16: Int16Array, int64: BigInt64Array, bool: Uint8Array,
};
const ELEMENTS = { 1: "float32", 2: "int32", 3: "uint8", 4: "int64", 6: "bool", 7: "int16", 9: "int8" }; // Its ElementType.
const NO_TENSOR = /^Element type \w+ is not supported/;
// A call that fails is not refused: this is printed, and outputs are left as they were in memory.
const FAILED = /^ERROR:/;
const TOLD = /^(VERBOSE|INFO|WARNING):/; // Printed as errors are, which nobody who looks at the console should take them for.
const said = [];
let wasm;

/** Starts LiteRT.js for `backend`, wasm or webgpu; returns the words that describe it, or null where it does not start. */
export async function start(here, backend, version) {
  const adapter = await navigator.gpu?.requestAdapter();
  const hardware = Boolean(adapter) && !(adapter.info?.isFallbackAdapter ?? adapter.isFallbackAdapter);
  if (backend === "webgpu" && !hardware) return null;
  listen();
  ({ liteRtWasm: wasm } = await loadLiteRt(here, { jspi: backend === "webgpu" && (await supportsFeature("jspi")) }));
  if (backend === "webgpu" && !getDefaultEnvironment().webGpuDevice) return null;
  return `litert.js ${version} ${backend}${hardware ? "" : " without a GPU"}`;
}

/** Notes in `said` what LiteRT prints of errors; its module takes hold of the console when it starts. */
function listen() {
  const quiet = console.debug.bind(console);
  for (const level of ["log", "warn", "error"]) {
    const print = console[level].bind(console);
    console[level] = (...words) => {
      if (FAILED.test(words.join(" "))) said.push(words.join(" "));
      (TOLD.test(words.join(" ")) ? quiet : print)(...words);
    };
  }
}

/** Fetches request `index`, runs it, and posts its answer: outputs, or the error's text. Returns whether it ran. */
export async function answer(backend, base, index) {
  const { header, payload } = await received(base, index);
  let message;
  let failed = false;
  said.length = 0;
  try {
    message = await run(header, `${base}/models/${index}/${encodeURIComponent(header.model)}`, backend, payload);
  } catch (error) {
    failed = true;
    message = pack({ error: [error?.message ?? error, ...said].join("; "), computing: true }, []);
  }
  await post(base, index, message);
  return !failed;
}

/** What a request's file at `url` makes of its calls, as a message: a header, and the outputs' bytes. */
export async function run(header, url, backend, payload) {
  const model = await loaded(url, backend, header.signature);
  const cases = [];
  const chunks = [];
  let times = [];
  for (const [number, described] of header.cases.entries()) {
    const inputs = Object.fromEntries(described.map((tensor) => [tensor.name, { ...tensor, data: array(tensor, payload) }]));
    sameNames(model.inputs, inputs);
    const call = async () => {
      const started = performance.now();
      const outputs = await model.call(inputs);
      if (said.length) throw new Error("a call failed");
      return { outputs, took: performance.now() - started };
    };
    const { outputs, took } = await call();
    cases.push(outputs.map(({ name, dtype, shape }) => ({ name, dtype, shape })));
    chunks.push(...outputs.map(({ data }) => data));
    if (header.timed && number === header.cases.length - 1) times = await timesOf(async () => (await call()).took, took);
  }
  // The clock of a page ticks ten times a millisecond, and a call may take less.
  return pack({ cases, times: times.some((time) => time > 0) ? times : [], ran: model.ran }, chunks);
}

/** What calls a signature by names. `ran` says how, where that is not LiteRT.js's usual way. */
async function loaded(url, backend, signature) {
  try {
    const model = await loadAndCompile(url, { accelerator: backend, gpuOptions: { precision: "fp32" } });
    if (model.options.accelerator !== backend) throw new Error(`it runs on ${model.options.accelerator} in place of ${backend}`);
    return { ...public_(model, signature), ran: null };
  } catch (error) {
    if (backend !== "wasm" || !NO_TENSOR.test(error?.message)) throw error;
    const called = await bound(new Uint8Array(await (await fetch(url)).arrayBuffer()), signature);
    return { ...called, ran: `by its WebAssembly module, since its Tensor has float32, int32 and uint8 alone (${error.message})` };
  }
}

function public_(model, key) {
  const signature = model.signatures[key];
  if (!signature) throw new Error(`there is no signature ${key}`);
  const call = async (inputs) => {
    const given = Object.fromEntries(Object.entries(inputs).map(([name, { data, shape }]) => [name, new Tensor(data, shape)]));
    const outputs = await signature.run(given);
    const read = Object.entries(outputs).map(async ([name, tensor]) => ({
      name,
      dtype: tensor.type.dtype,
      shape: [...tensor.type.layout.dimensions],
      data: await tensor.data(),
    }));
    const copied = await Promise.all(read);
    for (const tensor of [...Object.values(given), ...Object.values(outputs)]) tensor.delete();
    return copied;
  };
  return { inputs: signature.getInputDetails().map(({ name }) => name), call };
}

/** The same through the WebAssembly module itself, as LiteRT.js's own classes call it. */
async function bound(content, key) {
  const environment = getDefaultEnvironment();
  const pointer = wasm._malloc(content.length);
  wasm.HEAPU8.set(content, pointer);
  const model = wasm.loadModel(environment.liteRtEnvironment, pointer, content.length);
  const options = { environment, accelerator: "wasm", cpuOptions: { numThreads: wasm.getThreadCount() }, gpuOptions: {}, webNNOptions: {} };
  const compiled = await wasm.compileModel(environment.liteRtEnvironment, model, options);
  const keys = Array.from({ length: model.getNumSignatures() }, (_, index) => model.getSignature(index).key());
  const index = keys.indexOf(key);
  if (index < 0) throw new Error(`there is no signature ${key}`);
  const inputs = list(model.getSignature(index).inputNames());
  const names = list(model.getSignature(index).outputNames());
  const call = async (given) => {
    const buffers = inputs.map((name, place) => filled(environment, model.getInputTensorType(index, place), given[name], name));
    const outputs = await compiled.run(index, buffers);
    const copied = outputs.map((buffer, place) => ({ name: names[place], ...copy(buffer) }));
    for (const buffer of [...buffers, ...outputs]) buffer.delete();
    return copied;
  };
  return { inputs, call };
}

function filled(environment, type, { data }, name) {
  if (type.bytes() !== data.byteLength) throw new Error(`input ${name} takes ${type.bytes()} bytes, given were ${data.byteLength}`);
  const buffer = wasm.LiteRtTensorBuffer.createManaged(environment.liteRtEnvironment, wasm.LiteRtTensorBufferType.HOST_MEMORY, type, type.bytes());
  const pointer = buffer.lock(wasm.LiteRtTensorBufferLockMode.WRITE);
  wasm.HEAPU8.set(new Uint8Array(data.buffer, data.byteOffset, data.byteLength), pointer);
  buffer.unlock();
  return buffer;
}

function copy(buffer) {
  const type = buffer.tensorType();
  const dtype = ELEMENTS[type.elementType().value];
  if (!dtype) throw new Error(`an output is of element type ${type.elementType().value}`);
  const pointer = buffer.lock(wasm.LiteRtTensorBufferLockMode.READ);
  const data = wasm.HEAPU8.slice(pointer, pointer + buffer.packedSize());
  buffer.unlock();
  return { dtype, shape: list(type.layout().dimensions()), data };
}

function list(vector) {
  const items = Array.from({ length: vector.size() }, (_, index) => vector.get(index));
  vector.delete();
  return items;
}

function array({ name, dtype, offset, bytes }, payload) {
  const type = TYPES[dtype];
  if (!type) throw new Error(`input ${name} is of ${dtype}`);
  return new type(payload.slice(offset, offset + bytes));
}
