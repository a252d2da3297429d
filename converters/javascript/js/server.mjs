// A loopback HTTP server: the files of the page, and of each job its models' directories and its messages.

import { randomUUID } from "node:crypto";
import { createReadStream, createWriteStream } from "node:fs";
import { stat } from "node:fs/promises";
import { createServer } from "node:http";
import { dirname, join, sep } from "node:path";
import { pipeline } from "node:stream/promises";
import { fileURLToPath } from "node:url";

const HERE = dirname(fileURLToPath(import.meta.url));
const PACKAGES = join(HERE, "node_modules/@tensorflow");
const LITERT = join(HERE, "node_modules/@litertjs");
const TYPES = {
  ".html": "text/html",
  ".mjs": "text/javascript",
  ".js": "text/javascript",
  ".json": "application/json",
  ".wasm": "application/wasm",
};
const STATIC = {
  "litertjs-core.js": join(LITERT, "core/dist/index.js"),
  "litertjs-wasm-utils.js": join(LITERT, "wasm-utils/dist/index.js"),
  "tf.min.js": join(PACKAGES, "tfjs/dist/tf.min.js"),
};
for (const name of ["tf-backend-wasm.min.js", "tfjs-backend-wasm.wasm", "tfjs-backend-wasm-simd.wasm"])
  STATIC[name] = join(PACKAGES, "tfjs-backend-wasm/dist", name);

for (const name of ["tfjs.html", "core.mjs", "litert.html", "litert.mjs", "messages.mjs"]) STATIC[name] = join(HERE, name);
for (const kind of ["", "_compat", "_jspi"]) // What it loads by itself, by what the browser has.
  for (const suffix of [".js", ".wasm"]) STATIC[`litert_wasm${kind}_internal${suffix}`] = join(LITERT, `core/wasm/litert_wasm${kind}_internal${suffix}`);

/**
 * Starts it. `pages` is the address to put before a file of the page. `open(work, models)` serves a job, whose
 * messages are in `work` and whose `models` are index -> path of a model.json: the address to put before a path, and
 * how to stop serving it.
 */
export async function serve() {
  // Other users of the machine can reach a loopback port: without the token it tells them nothing.
  const token = randomUUID();
  const jobs = new Map();
  const server = createServer(async (request, response) => {
    try {
      const [first, ...path] = new URL(request.url, "http://localhost").pathname.slice(1).split("/").map(decodeURIComponent);
      const file = first === token ? locate(jobs, path, request.method) : null;
      if (!file) return void response.writeHead(404).end();
      if (request.method === "POST") {
        await pipeline(request, createWriteStream(file));
        return void response.writeHead(204).end();
      }
      const { size } = await stat(file);
      const type = TYPES[file.slice(file.lastIndexOf("."))] ?? "application/octet-stream";
      response.writeHead(200, { "Content-Type": type, "Content-Length": size });
      await pipeline(createReadStream(file), response);
    } catch (error) {
      if (!response.headersSent) response.writeHead(error.code === "ENOENT" ? 404 : 500);
      response.end();
    }
  });
  await new Promise((resolve, reject) => server.once("error", reject).listen(0, "127.0.0.1", resolve));
  const pages = `http://127.0.0.1:${server.address().port}/${token}`;
  let opened = 0;
  const open = (work, models) => {
    const id = String(++opened);
    jobs.set(id, { work, models });
    return { base: `${pages}/${id}`, close: () => jobs.delete(id) };
  };
  return { pages, open };
}

function locate(jobs, [id, kind, index, ...rest], method) {
  if (kind === undefined) return method === "GET" && Object.hasOwn(STATIC, id) ? STATIC[id] : null;
  const job = jobs.get(id);
  if (!job || !Object.hasOwn(job.models, index)) return null;
  if (method === "POST") return kind === "answers" ? join(job.work, `answer-${index}`) : null;
  if (kind === "requests") return join(job.work, `request-${index}`);
  const directory = dirname(job.models[index]);
  const file = join(directory, ...rest);
  return kind === "models" && file.startsWith(directory + sep) ? file : null;
}
