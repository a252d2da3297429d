// node main.mjs WORK FD: answers the jobs that arrive on stdin, one JSON document a line, each with a line on file
// descriptor FD; see converters/javascript/runner.py. Node's tensorflow.js and Chromium start with the first job that needs
// them and stay for the next. Ends when stdin does, or with exit status 1 where a job cannot be answered.

import { writeSync } from "node:fs";
import { createRequire } from "node:module";
import { createInterface } from "node:readline";
import { serve } from "./server.mjs";

const [work, descriptor] = process.argv.slice(2);
const LARGE = 512 * 2 ** 20; // What a WebAssembly heap once took it keeps: a process this large is not used again.
const server = await serve();
const require = createRequire(import.meta.url);
let browser = null;

/** Returns what ran (null if the backend does not start), the program, WebGL's renderer, and whether this process may be used again. */
async function inNode({ backend }, base, indices) {
  const tf = require("@tensorflow/tfjs");
  if (backend === "wasm") require("@tensorflow/tfjs-backend-wasm");
  const core = await import("./core.mjs");
  const described = await core.start(tf, backend);
  const tensors = tf.memory().numTensors;
  let clean = true;
  if (described) for (const index of indices) clean = (await core.answer(tf, backend, base, index)) && clean;
  return {
    runtime: described && `node ${process.versions.node}, ${described}`,
    path: process.execPath,
    reusable: clean && tf.memory().numTensors === tensors && process.memoryUsage.rss() < LARGE,
  };
}

async function inChromium({ library, backend, version, executable }, base, indices) {
  browser ??= await start(executable);
  let page;
  const open = async () => {
    // A page of its own for each job, and after an error, which may have left tensors or a lost WebGL context.
    await page?.close();
    page = await browser.newPage();
    page.on("console", (message) => console.error(`page: ${message.text()}`));
    page.on("error", (error) => fail(`chromium: ${error.message}`)); // A dead page never answers.
    await page.goto(`${server.pages}/${library}.html`);
    return page.evaluate((...wanted) => window.start(...wanted), backend, base, version);
  };
  const described = await open();
  const renderer = described && (await page.evaluate(() => window.renderer()));
  if (described) {
    for (const index of indices) {
      const ran = await page.evaluate((number) => window.answer(number), index);
      if (!ran && (await open()) !== described) throw new Error(`${described} did not start again after an error`);
    }
  }
  await page.close();
  const named = (await browser.version()).replace(/^.*\//, "chromium ");
  return { runtime: described && `${named}, ${described}`, path: browser.process().spawnfile, renderer, reusable: true };
}

async function start(executable) {
  const { launch } = await import("./chromium.mjs");
  const launched = await launch(executable, work);
  launched.on("disconnected", () => (browser = null)); // One that ended between two jobs is started again.
  return launched;
}

/** Ends at once and loudly; what a dying Chromium says arrives after its end. */
function fail(text) {
  console.error(text);
  setTimeout(() => process.exit(1), 200);
}

async function answer(line) {
  const job = JSON.parse(line);
  const { base, close } = server.open(job.work, job.models);
  const reply = await (job.program === "chromium" ? inChromium : inNode)(job, base, Object.keys(job.models));
  close();
  writeSync(Number(descriptor), `${JSON.stringify(reply)}\n`);
}

createInterface({ input: process.stdin })
  .on("line", (line) => answer(line).catch((error) => fail(error.stack)))
  .on("close", async () => {
    await browser?.close();
    process.exit(0);
  });
