// Messages in and out, and how long a call takes, for all that is run here. Their form: converters/javascript/messages.py.

const TIMED_CALLS = 5;
const TIMED_SECONDS = 0.25; // No call begins later: a slow model is not called again only to learn that it is slow.
const SLOW_SECONDS = 5; // A call that takes longer is not made again at all.

/** A request's header and the bytes of its tensors. */
export async function received(base, index) {
  const buffer = await (await fetched(`${base}/requests/${index}`)).arrayBuffer();
  const size = new DataView(buffer).getUint32(0, true);
  const header = JSON.parse(new TextDecoder().decode(new Uint8Array(buffer, 4, size)));
  return { header, payload: buffer.slice(4 + size) };
}

/** Posts the answer to a request: a header, and the tensors' bytes in `chunks`. */
export async function post(base, index, message) {
  await fetched(`${base}/answers/${index}`, { method: "POST", body: message });
}

export function pack(header, chunks) {
  const text = new TextEncoder().encode(JSON.stringify(header));
  const size = new Uint8Array(4);
  new DataView(size.buffer).setUint32(0, text.length, true);
  return new Blob([size, text, ...chunks]);
}

/** Milliseconds of several calls by `call`, which brings its outputs back to the CPU and was made before in `took` milliseconds. */
export async function timesOf(call, took) {
  if (took > SLOW_SECONDS * 1000) return [took];
  const times = [];
  const begin = performance.now();
  while (times.length < TIMED_CALLS && performance.now() - begin < TIMED_SECONDS * 1000) times.push(await call());
  return times;
}

/** Requires that a call is given the inputs that a model has. */
export function sameNames(expected, inputs) {
  const given = Object.keys(inputs);
  if (given.length !== expected.length || given.some((name) => !expected.includes(name)))
    throw new Error(`the model's inputs are [${[...expected].sort()}], given were [${given.sort()}]`);
}

async function fetched(url, options) {
  const response = await fetch(url, options);
  if (!response.ok) throw new Error(`${url}: HTTP ${response.status}`);
  return response;
}
