// What a person sees of a page, in a real Chromium: node look.mjs URL STEPS prints one JSON document, with what the steps found,
// every message of the console (`console`), what was thrown (`thrown`), and each request that went anywhere but to URL (`foreign`).
//
// STEPS is JSON, a list of [what, ...arguments]: ["wait", selector, ms?], ["text", name, selector], ["upload", selector, path],
// ["press", key], ["focused", name], ["evaluate", name, expression], ["shot", path], ["size", width, height], ["dark", true], ["reload"],
// ["axe"], by which `violations` are what axe-core finds serious or critical.

import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { launch } from "../../converters/javascript/js/chromium.mjs";

const [url, steps] = process.argv.slice(2);
const PATIENCE = { timeout: Number(process.env.FANOUT_TEST_PATIENCE ?? 300_000) };
const AXE = new URL("../../converters/javascript/js/node_modules/axe-core/axe.min.js", import.meta.url);
const found = { console: [], thrown: [], foreign: [], violations: [] };

const does = {
  wait: (page, selector) => page.waitForSelector(selector, PATIENCE),
  text: async (page, name, selector) => (found[name] = await page.$eval(selector, (element) => element.innerText)),
  upload: async (page, selector, path) => (await page.waitForSelector(selector, PATIENCE)).uploadFile(path),
  press: (page, key) => page.keyboard.press(key),
  click: (page, selector) => page.click(selector),
  focused: async (page, name) => (found[name] = await page.evaluate(() => document.activeElement.outerHTML)),
  evaluate: async (page, name, expression) => (found[name] = await page.evaluate(expression)),
  shot: (page, path) => page.screenshot({ path, fullPage: true }),
  size: (page, width, height) => page.setViewport({ width, height }),
  dark: (page, on) => page.emulateMediaFeatures([{ name: "prefers-color-scheme", value: on ? "dark" : "light" }]),
  axe: async (page) => {
    await page.evaluate(await readFile(AXE, "utf8"));
    const { violations } = await page.evaluate(() => globalThis.axe.run());
    const grave = violations.filter(({ impact }) => ["serious", "critical"].includes(impact));
    found.violations.push(...grave.map(({ id, nodes }) => `${id}: ${nodes.map(({ html }) => html).join(" | ")}`));
  },
  reload: (page) => page.reload(PATIENCE),
};

const work = await mkdtemp(join(tmpdir(), "look-"));
let browser;
let page;
try {
  browser = await launch(process.env.FANOUT_CHROMIUM || null, work);
  page = await browser.newPage();
  await page.setViewport({ width: 1400, height: 1000 });
  page.on("request", (request) => {
    const asked = new URL(request.url());
    if (!["data:", "blob:"].includes(asked.protocol) && asked.host !== new URL(url).host) found.foreign.push(request.url());
  });
  page.on("console", (message) => found.console.push(`${message.type()}: ${message.text()}`));
  page.on("pageerror", (error) => found.thrown.push(error.message));
  await page.goto(url, PATIENCE);
  for (const [what, ...given] of JSON.parse(steps)) await does[what](page, ...given);
  process.stdout.write(JSON.stringify(found) + "\n");
} catch (error) {
  process.stderr.write(`${JSON.stringify(found)}\n`);
  if (page) process.stderr.write(`${page.url()} shows:\n${await page.evaluate(() => document.body.innerText)}\n`);
  throw error;
} finally {
  await browser?.close();
  await rm(work, { recursive: true, force: true });
}
