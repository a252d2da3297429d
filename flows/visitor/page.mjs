// Runs each file of the release in each runtime that this browser has, in a frame of its own, and shows what the server's judge
// says of the answers; and a picture of the visitor's. All text of a model is text here.

const BASE = location.href.replace(/\/[^/]*$/, "");
const SHOWN = 5; // Classes of an answer.
const $ = (selector) => document.querySelector(selector);
const release = await (await fetch(`${BASE}/release.json`)).json();
let running = false;

/** An element with its text. */
function made(tag, name, text = "") {
  const element = Object.assign(document.createElement(tag), { textContent: text });
  if (name) element.className = name;
  return element;
}

/** A number of few digits. */
const figure = (value, digits = 3) => (value === 0 || Math.abs(value) >= 1e-3 ? String(Number(value.toPrecision(digits))) : value.toExponential(1));
/** A browser's clock ticks ten times a millisecond. */
const milliseconds = (value) => (value < 0.1 ? "under 0.1 ms" : `${value < 10 ? value.toFixed(1) : value.toFixed(0)} ms`);
const LIBRARIES = { tfjs: "tensorflow.js", litert: "LiteRT.js" };

/** Opens a page that runs files: its window, what it says that it is (null where it does not start), and how to close it. */
async function opened({ page, backend, version }) {
  const frame = Object.assign(document.createElement("iframe"), { src: `${BASE}/${page}`, title: page, tabIndex: -1 });
  const loaded = new Promise((resolve) => frame.addEventListener("load", resolve, { once: true }));
  $("#frames").append(frame);
  await loaded;
  const close = () => frame.remove();
  try {
    return { window: frame.contentWindow, described: await frame.contentWindow.start(backend, BASE, version), close };
  } catch (error) {
    close();
    throw error;
  }
}

class Line {
  constructor(visit) {
    this.visit = visit;
    this.element = made("li");
    this.state = made("div", "state");
    this.error = made("div", "figure error");
    this.latency = made("div", "figure latency");
    this.detail = made("div", "detail");
    const title = made("div", "title");
    title.append(made("b", "", visit.title), made("span", "path", visit.signature));
    const runtime = made("div", "runtime");
    runtime.append(made("span", "", this.runtime), made("span", "path", visit.path));
    this.element.append(title, runtime, this.state, this.error, this.latency, this.detail);
    this.show("wait", "… waiting");
  }

  get runtime() {
    return `${LIBRARIES[this.visit.library]} ${this.visit.backend}`;
  }

  show(kind, text) {
    this.kind = kind;
    this.element.dataset.state = kind;
    this.state.textContent = text;
    this.state.className = `state ${{ agrees: "good", differs: "bad", cannot: "none" }[kind] ?? "soft"}`;
  }

  /** Shows what the judge says, beside what the manifest has of the same runtime. */
  judged({ status, measured, limit, detail, latency_ms: latency, range_ms: range }) {
    const { recorded, samples } = this.visit;
    this.show(status, { agrees: "✓ agrees", differs: "✗ differs", cannot: "– cannot run here" }[status]);
    this.error.replaceChildren();
    this.latency.replaceChildren();
    if (measured != null && limit != null) {
      const bar = made("span", "bar");
      const share = made("i", measured > limit ? "over" : "");
      share.style.width = `${Math.min(100, limit ? (100 * measured) / limit : 100)}%`;
      bar.append(share);
      this.error.append(`error ${figure(measured)} of ${figure(limit)}`, bar);
    }
    const manifest = recorded?.measured == null ? "" : `, in the manifest ${figure(recorded.measured)}`;
    if (measured != null) this.error.append(made("small", "", `${samples} sample${samples === 1 ? "" : "s"}${manifest}`));
    if (latency != null) this.latency.append(`${milliseconds(latency)} here`);
    if (range) this.latency.append(made("small", "", `${milliseconds(range[0])} to ${milliseconds(range[1])}`));
    if (recorded?.latency_ms != null) this.latency.append(made("small", "", `in the manifest ${milliseconds(recorded.latency_ms)}`));
    this.detail.textContent = status === "agrees" ? "" : detail;
  }

  /** Of what this browser has not at all a line says nothing; the summary does. */
  absent() {
    this.show("absent", "");
    this.element.hidden = true;
  }

  async run(number) {
    this.show("runs", "… running");
    this.error.replaceChildren();
    this.latency.replaceChildren();
    this.detail.textContent = "";
    let page;
    try {
      page = await opened(this.visit);
      if (page.described == null) return this.absent();
      await page.window.answer(number);
      this.judged(await result(number, page.described));
    } catch (error) {
      this.judged({ status: "differs", detail: String(error?.message ?? error) });
    } finally {
      page?.close();
    }
  }
}

async function result(number, runtime) {
  const response = await fetch(`${BASE}/results/${number}?runtime=${encodeURIComponent(runtime)}`);
  if (!response.ok) throw new Error(await response.text());
  return response.json();
}

async function runAll(lines) {
  running = true;
  $("#again").disabled = true;
  for (const [number, line] of lines.entries()) {
    $("#summary").textContent = `Running ${number + 1} of ${lines.length} …`;
    await line.run(number);
    $("#progress").value = (number + 1) / lines.length;
  }
  const count = (kind) => lines.filter((line) => line.kind === kind).length;
  const [agree, differ, cannot] = ["agrees", "differs", "cannot"].map(count);
  const absent = [...new Set(lines.filter((line) => line.kind === "absent").map((line) => line.runtime))];
  const told = [`${agree} agree with the live model`, differ && `${differ} differ`, cannot && `${cannot} cannot run here`].filter(Boolean);
  if (absent.length) told.push(`this browser has no ${absent.join(", ")}`);
  $("#summary").textContent = `${differ ? "✗" : "✓"} ${told.join(", ")}`;
  $("#summary").className = `summary ${differ ? "bad" : "good"}`;
  document.title = `${differ ? "✗" : "✓"} ${release.model} ${release.version}`;
  document.body.dataset.done = "true";
  $("#again").disabled = false;
  running = false;
}

/** A picture as the model takes it: a flat array of float32 or int32 and its shape; draws it as it is seen. */
function pixels(bitmap, picture) {
  const [width, height] = [picture.width ?? bitmap.width, picture.height ?? bitmap.height];
  const canvas = Object.assign($("#canvas"), { width, height });
  const context = canvas.getContext("2d", { willReadFrequently: true });
  context.imageSmoothingQuality = "high";
  context.drawImage(bitmap, 0, 0, width, height);
  const shown = context.getImageData(0, 0, width, height);
  const { channels, mean, std } = picture;
  const order = picture.color === "bgr" ? [2, 1, 0, 3] : [0, 1, 2, 3];
  const values = new (picture.dtype === "float32" ? Float32Array : picture.dtype === "uint8" ? Uint8Array : Int32Array)(width * height * channels);
  for (let at = 0; at < width * height; at++) {
    const colours = shown.data.subarray(4 * at, 4 * at + 4);
    const grey = (colours[0] + colours[1] + colours[2]) / 3;
    for (let channel = 0; channel < channels; channel++) {
      const raw = channels === 1 ? grey : colours[order[channel]];
      const value = (raw - (mean[channel] ?? mean[0])) / (std[channel] ?? std[0]);
      values[at * channels + channel] = picture.dtype === "float32" ? value : Math.round(value);
    }
    if (channels === 1) shown.data.fill(grey, 4 * at, 4 * at + 3);
  }
  if (channels === 1) context.putImageData(shown, 0, 0);
  return { values, shape: [...(picture.batched ? [1] : []), height, width, channels] };
}

/** Outputs of a message of one call, as [name, numbers]. */
async function outputs(message) {
  const buffer = await message.arrayBuffer();
  const size = new DataView(buffer).getUint32(0, true);
  const { cases, error } = JSON.parse(new TextDecoder().decode(new Uint8Array(buffer, 4, size)));
  if (error) throw new Error(error);
  let at = 4 + size;
  return cases[0].map(({ name, dtype, shape }) => {
    const type = { int32: Int32Array, bool: Uint8Array, uint8: Uint8Array, int8: Int8Array, int64: BigInt64Array }[dtype] ?? Float32Array;
    const count = shape.reduce((product, each) => product * each, 1);
    const values = new type(buffer.slice(at, at + count * type.BYTES_PER_ELEMENT));
    at += count * type.BYTES_PER_ELEMENT;
    return [name, [...values].map(Number)];
  });
}

async function own(file, lines) {
  const line = lines[$("#runtime").value];
  const { picture } = line.visit;
  $("#answer").replaceChildren(made("p", "soft", "Running …"));
  let page;
  try {
    const { values, shape } = pixels(await createImageBitmap(file), picture);
    $("#seen").hidden = false;
    page = await opened(line.visit);
    const tensor = { name: picture.input, dtype: picture.dtype, shape, offset: 0, bytes: values.byteLength };
    const header = { kind: line.visit.kind, timed: false, cases: [[tensor]], signature: line.visit.signature };
    const url = `${BASE}/models/${$("#runtime").value}/${encodeURIComponent(line.visit.path.replace(/^.*\//, ""))}`;
    const answered = await outputs(await page.window.run(header, url, values.buffer));
    $("#answer").replaceChildren(...answered.flatMap(([name, numbers]) => shownOutput(name, numbers, picture.labels[name] ?? [])));
  } catch (error) {
    $("#answer").replaceChildren(made("p", "bad", String(error?.message ?? error)));
  } finally {
    page?.close();
  }
}

/** An output's highest values with their labels, or its first ones where it is no list of classes. */
function shownOutput(name, numbers, labels) {
  const best = numbers.map((value, place) => [value, place]).sort((one, other) => other[0] - one[0]).slice(0, SHOWN);
  const most = Math.max(...best.map(([value]) => Math.abs(value)), 1e-30);
  const list = made("ol", "answers");
  for (const [value, place] of best) {
    const item = made("li");
    const bar = made("span", "bar");
    const share = made("i");
    share.style.width = `${Math.max(0, (100 * value) / most)}%`;
    bar.append(share);
    item.append(made("b", "", labels[place] ?? `${name} ${place}`), made("span", "", figure(value, 4)), bar);
    list.append(item);
  }
  return [made("h3", "", name), list];
}

function offerOwn(lines) {
  const able = [...lines.entries()].filter(([, { visit, kind }]) => visit.picture && ["agrees", "differs"].includes(kind));
  $("#own").hidden = !able.length;
  if (!able.length) return;
  const chosen = $("#runtime").value;
  $("#runtime").replaceChildren(
    ...able.map(([number, line]) => Object.assign(made("option", "", `${line.visit.title}, ${line.runtime}`), { value: number })),
  );
  if (able.some(([number]) => String(number) === chosen)) $("#runtime").value = chosen;
  becomes(lines);
}

/** Says how a picture becomes the chosen file's input. */
function becomes(lines) {
  const { picture } = lines[$("#runtime").value].visit;
  const size = picture.width && picture.height ? `scaled to ${picture.width} × ${picture.height}` : "in its own size";
  const identity = picture.mean.every((each) => each === 0) && picture.std.every((each) => each === 1);
  const how = identity ? "its values from 0 to 255 as they are" : `(value − ${picture.mean.join(", ")}) / ${picture.std.join(", ")}`;
  const guess = picture.guessed ? `; a guess, so that values lie where golden's do (${picture.range}): preprocessing: in the config says it for certain` : "";
  $("#becomes").textContent = `It is ${size}${picture.channels === 1 ? ", grey" : picture.color === "bgr" ? ", blue first" : ""}, ${how}${guess}. ${picture.description}`;
}

$("#name").textContent = `${release.model} ${release.version}`;
document.title = `${release.model} ${release.version}`;
if (release.description) Object.assign($("#about"), { textContent: release.description, hidden: false });
if (release.changed.length)
  Object.assign($("#changed"), { textContent: `This is not what was released:\n${release.changed.join("\n")}`, hidden: false });
const lines = release.visits.map((visit) => new Line(visit));
$("#visits").append(...lines.map((line) => line.element));
$("#again").addEventListener("click", () => running || runAll(lines).then(() => offerOwn(lines)));
$("#runtime").addEventListener("change", () => becomes(lines));
$("#file").addEventListener("change", ({ target }) => target.files[0] && own(target.files[0], lines));
const drop = $("#drop");
for (const kind of ["dragover", "dragleave", "drop"])
  drop.addEventListener(kind, (event) => {
    event.preventDefault();
    drop.classList.toggle("over", kind === "dragover");
    if (kind === "drop" && event.dataTransfer.files[0]) own(event.dataTransfer.files[0], lines);
  });
await runAll(lines);
offerOwn(lines);
