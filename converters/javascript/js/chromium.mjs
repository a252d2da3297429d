// Starts a headless Chromium that talks to nobody but the loopback server, and dies with this process.

import { existsSync } from "node:fs";
import { chmod, mkdir, mkdtemp, readdir, readFile, rename, rm, stat } from "node:fs/promises";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import puppeteer from "puppeteer-core";

const PACKAGE = join(dirname(fileURLToPath(import.meta.url)), "node_modules/@sparticuz/chromium");
const FLAGS = [
  "--disable-domain-reliability",
  "--disable-features=OptimizationHints,MediaRouter,Translate,DialMediaRouteProvider",
  "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
  "--no-pings",
  "--no-proxy-server",
  "--ignore-gpu-blocklist",
  "--use-gl=angle",
  "--enable-unsafe-swiftshader", // Renders WebGL where there is no GPU.
  // Shaders compiled for one model serve the next that has the same: a sixth less of SwiftShader's time for a model's
  // first run, and two fifths of a page's for a model that was run before.
  "--enable-angle-features=preferGlobalPipelineCache",
];

/** Launches `executable`, or the npm package's Chromium when it is null. `work` is a directory the caller removes. */
export async function launch(executable, work) {
  if (executable) return start(executable, work, {}, true);
  const directory = await unpacked(work);
  const path = join(directory, "chromium");
  try {
    return await start(path, work, {}, "shell");
  } catch {
    // The machine may lack NSS or one of its like; the package brings them. If that is not it, it fails once more.
    const libraries = [join(directory, "al2023/lib"), process.env.LD_LIBRARY_PATH].filter(Boolean).join(":");
    return start(path, work, { LD_LIBRARY_PATH: libraries }, "shell");
  }
}

async function start(executablePath, work, env, headless) {
  const home = await mkdtemp(join(work, "home-"));
  const args = [...FLAGS];
  // The sandbox refuses to run as root, and the package's build comes without its helper.
  if (headless === "shell") args.push("--use-angle=swiftshader"); // It is built for machines without a GPU.
  if (headless === "shell" || process.getuid?.() === 0) args.push("--no-sandbox", "--no-zygote");
  return puppeteer.launch({
    executablePath,
    args,
    headless,
    dumpio: true, // What it complains of belongs in our log.
    pipe: true, // Chromium ends when the pipe closes, however this process ends.
    protocolTimeout: 0,
    userDataDir: join(home, "profile"),
    // Whatever it writes goes into the directory that the caller removes.
    env: { ...process.env, ...env, HOME: home, TMPDIR: home, XDG_CONFIG_HOME: home, XDG_CACHE_HOME: home },
  });
}

/** The directory with the package's files unpacked: beside the package, or in `work` where that is read-only. */
async function unpacked(work) {
  const { version } = JSON.parse(await readFile(join(PACKAGE, "package.json")));
  const cache = join(PACKAGE, "../../.cache");
  const target = join(cache, `chromium-${version}`);
  if (existsSync(target)) return target;
  let staging;
  try {
    await mkdir(cache, { recursive: true });
    staging = await mkdtemp(`${target}-`);
  } catch {
    return inflateInto(await mkdtemp(join(work, "chromium-")));
  }
  try {
    await inflateInto(staging);
    await rename(staging, target);
  } catch (error) {
    await rm(staging, { recursive: true, force: true });
    if (!existsSync(target)) throw error; // Else another process was first.
  }
  await removeOld(cache);
  return target;
}

/** Removes what a process that was killed while unpacking left in `cache` an hour ago or more. */
async function removeOld(cache) {
  for (const name of await readdir(cache)) {
    const path = join(cache, name);
    const age = Date.now() - (await stat(path)).mtimeMs;
    if (/^chromium-[^-]+-/.test(name) && age > 3_600_000) await rm(path, { recursive: true, force: true });
  }
}

async function inflateInto(directory) {
  const { inflate } = await import("@sparticuz/chromium");
  // The package unpacks to the system's temporary directory, under fixed names that anyone could have put there.
  const before = process.env.TMPDIR;
  process.env.TMPDIR = directory;
  try {
    const names = ["chromium.br", "swiftshader.tar.br", "al2023.tar.br"];
    await Promise.all(names.map((name) => inflate(join(PACKAGE, "bin", name))));
    for (const path of [directory, join(directory, "chromium")]) await chmod(path, 0o755); // For other users too.
  } finally {
    if (before === undefined) delete process.env.TMPDIR;
    else process.env.TMPDIR = before;
  }
  return directory;
}
