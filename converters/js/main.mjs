// node main.mjs WORK: answers every request that WORK/run.json lists; see converters/javascript.py.

import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { serve } from "./server.mjs";

const work = process.argv[2];
const { runtime, backends, executable, models } = JSON.parse(await readFile(join(work, "run.json")));
const base = await serve(work, models);

/** Returns what runs (null if no backend starts), the program, how to answer a request, and how to end it all. */
async function inNode() {
  const { default: tf } = await import("@tensorflow/tfjs");
  const core = await import("./core.mjs");
  const described = await core.start(tf, backends);
  return {
    described: described && `node ${process.versions.node}, ${described}`,
    path: process.execPath,
    answer: (index) => core.answer(tf, base, index),
    close: async () => {},
  };
}

async function inChromium() {
  const { launch } = await import("./chromium.mjs");
  const browser = await launch(executable, work);
  const [page] = await browser.pages();
  page.on("console", (message) => console.error(`page: ${message.text()}`));
  page.on("error", (error) => {
    // A dead page never answers; end at once and loudly.
    console.error(`chromium: ${error.message}`);
    process.exit(1);
  });
  const open = async () => {
    await page.goto(`${base}/page.html`);
    return page.evaluate((wanted) => window.start(wanted), backends);
  };
  const described = await open();
  return {
    described: described && `${(await browser.version()).replace(/^.*\//, "chromium ")}, ${described}`,
    path: browser.process().spawnfile,
    answer: async (index) => {
      // What failed may have left its tensors, or a lost WebGL context: the next request gets a new page.
      const ran = await page.evaluate((number) => window.answer(number), index);
      if (!ran && (await open()) !== described) throw new Error(`${described} did not start again after an error`);
    },
    close: () => browser.close(),
  };
}

try {
  const session = await (runtime === "chromium" ? inChromium() : inNode());
  if (session.described) for (const index of Object.keys(models)) await session.answer(index);
  await session.close();
  await writeFile(join(work, "done.json"), JSON.stringify({ runtime: session.described, path: session.path }));
  process.exit(0);
} catch (error) {
  await new Promise((resolve) => setTimeout(resolve, 200)); // What a dying Chromium says arrives after its end.
  console.error(error.stack);
  process.exit(1);
}
