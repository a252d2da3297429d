// What a person does in Prefect's UI, in a real Chromium: node prefect_ui.mjs BASE ACTION ARGUMENT... prints one JSON
// document: what the action found, and under `foreign` every request that was sent anywhere else but to BASE.

import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { launch } from "../../converters/javascript/js/chromium.mjs";

const [base, action, ...given] = process.argv.slice(2);
const PATIENCE = { timeout: Number(process.env.FANOUT_TEST_PATIENCE ?? 300_000) };
const foreign = new Set();
const refused = [];

/** Opens a page and waits until it has stopped loading. */
async function open(page, path) {
  await page.goto(new URL(path, base), { waitUntil: "networkidle2", ...PATIENCE });
}

/** The part of the run form that is headed `name`. */
async function field(page, name) {
  const label = `.//span[contains(@class,"schema-form-property__label")][starts-with(normalize-space(.),"${name}")]`;
  const xpath = `xpath/.//div[contains(@class,"p-label") and contains(@class,"schema-form-property")][${label}]`;
  const found = await page.waitForSelector(xpath, PATIENCE);
  return found;
}

/** Clicks the button (or menu entry) that shows this text. */
async function press(page, text) {
  const xpath = `xpath/.//*[self::button or self::a or @role="menuitem"][contains(normalize-space(.),"${text}")]`;
  const button = await page.waitForSelector(xpath, { visible: true, ...PATIENCE });
  // Not by the mouse: while a page is still being laid out the button moves away from under it.
  await button.evaluate((element) => element.click());
}

/**
 * Opens the run form, fills it by `fill` and submits it; what `fill` returned, and the id of the run that this has made.
 *
 * It begins again where nothing was done, since the form was set back to its defaults by an answer that came late, which it says.
 */
async function submitted(page, deployment, fill) {
  for (;;) {
    await open(page, `/deployments/deployment/${deployment}/run`);
    const form = await fill();
    const answered = page.waitForResponse((answer) => answer.url().endsWith("/create_flow_run"), PATIENCE);
    const emptied = page.waitForFunction(() => /is a required property/.test(document.body.innerText), PATIENCE);
    for (const each of [answered, emptied]) each.catch(() => {}); // one of them is still waiting when the browser ends
    await press(page, "Submit");
    const answer = await Promise.race([answered, emptied.then(() => null)]);
    if (answer) return { form, id: (await answer.json()).id };
  }
}

async function shot(page, name) {
  if (process.env.FANOUT_TEST_SHOTS) await page.screenshot({ path: join(process.env.FANOUT_TEST_SHOTS, `${name}.png`) });
}

const actions = {
  /** Fills the form of deploy-model and submits it; the parameters' choices and the new run's id. */
  async submit(page, deployment, model, ...targets) {
    return submitted(page, deployment, async () => {
      const form = {};
      for (const name of ["model", "targets", "force", "promote"]) {
        const part = await field(page, name);
        form[name] = await part.evaluate((element) => ({
          description: element.querySelector(".schema-form-property__description")?.innerText,
          choices: [...element.querySelectorAll("option")].map((option) => option.value),
          multiple: Boolean(element.querySelector("select[multiple]")),
          on: element.querySelector("[role=switch]")?.getAttribute("aria-checked"),
        }));
      }
      await (await (await field(page, "model")).$("select")).select(model);
      await (await (await field(page, "targets")).$("select")).select(...targets);
      await shot(page, "form");
      return form;
    });
  },

  /** Cancels a run from its page. */
  async cancel(page, run) {
    await open(page, `/runs/flow-run/${run}`);
    await press(page, "Cancel");
    await shot(page, "cancel");
    await press(page, "Confirm");
    const state = "(document.querySelector('.p-modal, [role=dialog]') ? '' : document.body.innerText)";
    await page.waitForFunction(`/Cancell(ing|ed)/.test(${state})`, PATIENCE);
    return {};
  },

  /** What each page shows, as text, once it shows these words: JSON of path -> words. */
  async read(page, expected) {
    const shown = {};
    for (const [path, words] of Object.entries(JSON.parse(expected))) {
      await open(page, path);
      const shows = (every) => every.every((each) => document.body.innerText.includes(each));
      await page.waitForFunction(shows, PATIENCE, words);
      shown[path] = await page.evaluate(() => document.body.innerText);
      await shot(page, path.replaceAll(/[^a-z0-9]+/g, "-").slice(1, 40));
    }
    return { shown };
  },

  /** The sign-in page: what it shows, and what the UI shows after `credentials` were given. */
  async login(page, credentials) {
    await open(page, "/dashboard");
    const input = await page.waitForSelector("input[type=password]", { visible: true, ...PATIENCE });
    const before = await page.evaluate(() => document.body.innerText);
    await input.type(credentials);
    await shot(page, "login");
    await page.keyboard.press("Enter");
    await page.waitForFunction(() => /Deployments/.test(document.body.innerText), PATIENCE);
    await open(page, "/deployments");
    await page.waitForFunction(() => /deploy-model/.test(document.body.innerText), PATIENCE);
    return { before, after: await page.evaluate(() => document.body.innerText) };
  },
};

const work = await mkdtemp(join(tmpdir(), "prefect-ui-"));
let browser;
let page;
try {
  browser = await launch(process.env.FANOUT_CHROMIUM || null, work);
  page = await browser.newPage();
  await page.setViewport({ width: 1400, height: 1000 });
  page.on("request", (request) => {
    const url = new URL(request.url());
    if (!["data:", "blob:"].includes(url.protocol) && url.host !== new URL(base).host) foreign.add(request);
  });
  page.on("requestfailed", (request) => {
    // What the page's policy forbids is announced and never sent.
    if (/csp/i.test(request.failure().errorText)) foreign.delete(request);
  });
  page.on("console", (message) => {
    if (/Content Security Policy/.test(message.text())) refused.push(message.text());
  });
  const found = await actions[action](page, ...given);
  process.stdout.write(JSON.stringify({ ...found, foreign: [...foreign].map((request) => request.url()), refused: refused.length }) + "\n");
} catch (error) {
  if (page) process.stderr.write(`${page.url()} shows:\n${await page.evaluate(() => document.body.innerText)}\n`);
  throw error;
} finally {
  await browser?.close();
  await rm(work, { recursive: true, force: true });
}
