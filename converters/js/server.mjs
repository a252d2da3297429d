// A loopback HTTP server for one run: the requests' model directories, and the messages to and from the runner.

import { randomUUID } from "node:crypto";
import { createReadStream, createWriteStream } from "node:fs";
import { stat } from "node:fs/promises";
import { createServer } from "node:http";
import { dirname, join, sep } from "node:path";
import { pipeline } from "node:stream/promises";
import { fileURLToPath } from "node:url";

const HERE = dirname(fileURLToPath(import.meta.url));
const TYPES = { ".html": "text/html", ".mjs": "text/javascript", ".js": "text/javascript", ".json": "application/json" };
const STATIC = {
  "page.html": join(HERE, "page.html"),
  "core.mjs": join(HERE, "core.mjs"),
  "tf.min.js": join(HERE, "node_modules/@tensorflow/tfjs/dist/tf.min.js"),
};

/** Serves `work` (messages) and `models` (index -> path of a model.json); returns the address to put before a path. */
export async function serve(work, models) {
  // Other users of the machine can reach a loopback port: without the token it tells them nothing.
  const token = randomUUID();
  const server = createServer(async (request, response) => {
    try {
      const [first, ...path] = new URL(request.url, "http://localhost").pathname.slice(1).split("/").map(decodeURIComponent);
      const file = first === token ? locate(work, models, path, request.method) : null;
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
  return `http://127.0.0.1:${server.address().port}/${token}`;
}

function locate(work, models, [kind, index, ...rest], method) {
  const known = Object.hasOwn(models, index);
  if (method === "POST") return known && kind === "answers" ? join(work, `answer-${index}`) : null;
  if (index === undefined) return Object.hasOwn(STATIC, kind) ? STATIC[kind] : null;
  if (!known) return null;
  if (kind === "requests") return join(work, `request-${index}`);
  const directory = dirname(models[index]);
  const file = join(directory, ...rest);
  return kind === "models" && file.startsWith(directory + sep) ? file : null;
}
