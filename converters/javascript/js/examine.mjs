// Looks into a layers model while it is loaded and run: what each layer returns, which layer fails, and which of its
// arguments tensorflow.js never reads. In Node alone.

import { layersCall } from "./core.mjs";

/**
 * The model at `url`, and what calls it: as outputs, what each call of each layer returns, by LAYER/CALL/TENSOR, and as
 * "unread" the arguments that the layers' constructors did not look at, as NAME/ARGUMENT. `expected` are the shapes that
 * calls return, by the same names; another is an error.
 */
export async function examined(tf, url, expected) {
  const { unread, stop } = watch(tf, expected);
  let model;
  try {
    model = await tf.loadLayersModel(url);
    if (!model.built) model.build();
  } catch (error) {
    throw (!error.message?.startsWith("layer ") && (await misfit(tf, url))) || error;
  } finally {
    stop();
  }
  const found = everyTensor(model);
  const whole = tf.model({ inputs: model.inputs, outputs: found.map(([, tensor]) => tensor) });
  const call = layersCall(whole, found.map(([name]) => name));
  return {
    model: whole, // Which disposes of the layers that it shares with the other.
    call: async (inputs) => [...(await call(inputs)), ["unread", tf.tensor1d(unread, "string")]],
  };
}

/** An error that names the layer whose weights have other shapes than those that the model at `url` has; null if none has. */
async function misfit(tf, url) {
  const { modelTopology, weightsManifest } = await (await fetch(url)).json();
  const model = await tf.loadLayersModel({ load: async () => ({ modelTopology }) });
  if (!model.built) model.build();
  const given = new Map(weightsManifest.flatMap(({ weights }) => weights).map(({ name, shape }) => [name, shape]));
  for (const layer of (model.model ?? model).layers) {
    for (const { originalName, shape } of layer.weights) {
      const wanted = given.get(originalName);
      if (!wanted || String(wanted) === String(shape)) continue;
      return new Error(`layer ${layer.name} (${layer.getClassName()}): its weights have the shape [${shape}] in place of [${wanted}]`);
    }
  }
  return null;
}

/**
 * Until `stop` is called, every layer that is made is watched: an error of its own begins with "layer NAME (CLASS): ", and
 * the arguments of its config that its constructor does not look at are added to `unread`.
 */
function watch(tf, expected) {
  const { classNameMap } = tf.serialization.SerializationMap.getMap();
  const before = { ...classNameMap };
  const unread = [];
  for (const [kind, [made, fromConfig]] of Object.entries(before))
    if (made.prototype instanceof tf.layers.Layer)
      classNameMap[kind] = [made, (cls, config, ...rest) => watched(kind, unread, expected, (seen) => fromConfig(cls, seen, ...rest), config)];
  return { unread, stop: () => Object.assign(classNameMap, before) };
}

function watched(kind, unread, expected, make, config) {
  const left = new Set(Object.keys(config));
  const seen = new Proxy(config, {
    get(target, key) {
      left.delete(key);
      return Reflect.get(target, key);
    },
  });
  const layer = named(config.name, kind, () => make(seen));
  const { apply } = layer;
  let calls = 0;
  layer.apply = (...given) =>
    named(layer.name, kind, () => {
      const made = apply.apply(layer, given);
      if (made.sourceLayer) requireShape(made.shape, expected[`${layer.name}/${calls++}/0`]);
      return made;
    });
  unread.push(...[...left].map((argument) => `${layer.name}/${argument}`));
  return layer;
}

/** Of symbolic tensors: sizes that are null are not known. */
function requireShape(shape, expected) {
  if (!expected) return;
  const differs = (size, index) => size != null && expected[index] != null && size !== expected[index];
  if (shape.length !== expected.length || shape.some(differs)) throw new Error(`its output has the shape [${shape}] in place of [${expected}]`);
}

function named(name, kind, action) {
  try {
    return action();
  } catch (error) {
    if (!error.message?.startsWith("layer ")) error.message = `layer ${name} (${kind}): ${error.message}`;
    throw error;
  }
}

/** What every call of every layer returns, as [LAYER/CALL/TENSOR, symbolic tensor]. */
function everyTensor(model) {
  const whole = model.model ?? model; // A Sequential holds another.
  return whole.layers.flatMap((layer) =>
    layer.inboundNodes
      .filter((_, index) => whole.containerNodes.has(layer.constructor.nodeKey(layer, index)))
      .flatMap((node, call) => node.outputTensors.map((tensor, index) => [`${layer.name}/${call}/${index}`, tensor])),
  );
}
