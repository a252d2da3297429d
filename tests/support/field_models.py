"""Models as people build them, each with what a target may not hold, and the inputs that their users send.

`NAME()` builds a model; `FRESH[NAME]()` makes calls of it, as golden need not: short sentences, overlapping boxes, other sizes.
"""

import numpy as np

WORDS, STEPS = 50, 12


def _keras(library):
    if library == 3:
        import keras
    else:
        import tf_keras as keras
    keras.utils.set_random_seed(4)
    return keras


def _wide(keras, scale=1.0):
    return keras.initializers.RandomNormal(stddev=scale)


def _sentences():
    tokens = np.zeros((4, STEPS), np.int32)
    for row, length in enumerate((2, 5, 9, STEPS)):
        tokens[row, :length] = np.random.default_rng(row).integers(1, WORDS, length)
    return [{"tokens": tokens}, {"tokens": tokens[:1]}]


def _embedded(keras):
    words = keras.Input((STEPS,), dtype="int32", name="tokens")
    return words, keras.layers.Embedding(WORDS, 8, mask_zero=True, embeddings_initializer=_wide(keras))(words)


def _average(library):
    keras = _keras(library)
    words, h = _embedded(keras)
    h = keras.layers.Dropout(0.5)(h)
    return keras.Model(words, keras.layers.Dense(3, name="y")(keras.layers.GlobalAveragePooling1D()(h)))


def masked_average():
    return _average(2)


def masked_average3():
    return _average(3)


def masked_through_convolution():
    keras = _keras(2)
    words, h = _embedded(keras)
    h = keras.layers.LSTM(6)(keras.layers.Conv1D(6, 3, padding="same")(h))
    return keras.Model(words, keras.layers.Dense(3, name="y")(h))


def masked_sum():
    keras = _keras(2)
    words, h = _embedded(keras)
    shifted = keras.layers.Masking(0.7)(keras.layers.Embedding(WORDS, 8, embeddings_initializer="ones")(words))
    h = keras.layers.GRU(6, reset_after=False)(keras.layers.Add()([shifted, h]))
    return keras.Model(words, keras.layers.Dense(3, name="y")(h))


def masked_recurrent():
    keras = _keras(2)
    return _both_ways(keras, keras.layers.Dropout(0.2), keras.layers.LSTM(5))


def _both_ways(keras, *layers):
    series = keras.Input((STEPS, 3), name="series")
    h = keras.layers.Masking(mask_value=-10.0)(series)
    h = keras.layers.Bidirectional(keras.layers.LSTM(4, return_sequences=True), name="both")(h)
    for layer in layers:
        h = layer(h)
    return keras.Model(series, keras.layers.Dense(3, name="y")(h))


def masked_sequence():
    return _both_ways(_keras(2))


def masked_attention():
    keras = _keras(2)
    words, h = _embedded(keras)
    h = keras.layers.GlobalMaxPooling1D()(keras.layers.Attention(name="attention")([h, h]))
    return keras.Model(words, keras.layers.Dense(3, name="y")(h))


def _series():
    series = np.random.default_rng(5).normal(size=(4, STEPS, 3)).astype(np.float32)
    for row, length in enumerate((2, 5, 9, STEPS)):
        series[row, length:] = -10.0
    return [{"series": series}, {"series": series[:1]}]


def _images(high=1.0, sides=((16, 16),)):
    rng = np.random.default_rng(8)
    return lambda: [{"image": rng.uniform(0, high, (n, *s, 3)).astype(np.float32)} for n in (1, 3) for s in sides]


def _scaled(interpolation):
    keras = _keras(2)
    image = keras.Input((16, 16, 3), name="image")
    a = keras.layers.Conv2D(4, 3, padding="same", activation="relu")(image)
    b = keras.layers.UpSampling2D(interpolation=interpolation)(keras.layers.MaxPooling2D()(a))
    return keras.Model(image, keras.layers.Conv2D(2, 1, name="y")(keras.layers.Concatenate()([a, b])))


def scaled_smoothly():
    return _scaled("bilinear")


def scaled_plainly():
    return _scaled("nearest")


def resized3():
    keras = _keras(3)
    image = keras.Input((16, 16, 3), name="image")
    h = keras.layers.Rescaling(1 / 127.5, offset=-1)(keras.layers.Resizing(12, 12)(image))
    return keras.Model(image, keras.layers.Dense(2, name="y")(keras.layers.Flatten()(h)))


def leaking3():
    keras = _keras(3)
    image = keras.Input((16, 16, 3), name="image")
    h = keras.layers.Conv2D(4, 3, bias_initializer=_wide(keras))(image)
    h = keras.layers.ReLU(max_value=6.0, negative_slope=0.1, name="leaking")(h)
    return keras.Model(image, keras.layers.Dense(2, name="y")(keras.layers.Flatten()(h)))


def normalised_by_batch():
    keras = _keras(2)
    image = keras.Input((16, 16, 3), name="image")
    h = keras.layers.Conv2D(4, 3, padding="same")(image)
    h = keras.layers.BatchNormalization(name="norm")(h, training=True)
    return keras.Model(image, keras.layers.Conv2D(2, 1, name="y")(h))


def dilated():
    keras = _keras(2)
    image = keras.Input((None, None, 3), name="image")
    h = keras.layers.Conv2D(8, 3, dilation_rate=(2, 1), padding="same", activation="relu")(image)
    h = keras.layers.DepthwiseConv2D(3, dilation_rate=2, padding="valid")(h)
    return keras.Model(image, keras.layers.Conv2D(2, 1, name="y")(h))


def causal3():
    keras = _keras(3)
    signal = h = keras.Input((None, 3), name="signal")
    for rate in (1, 2, 4):
        h = keras.layers.Conv1D(6, 3, dilation_rate=rate, padding="causal", activation="relu")(h)
    return keras.Model(signal, keras.layers.Dense(2, name="y")(keras.layers.GlobalMaxPooling1D()(h)))


def _signals():
    rng = np.random.default_rng(8)
    return [{"signal": rng.normal(size=(n, size, 3)).astype(np.float32)} for n, size in ((1, 37), (2, 9), (3, 50))]


def _named(library, joined):
    keras = _keras(library)
    a, b = keras.Input((4,), name="zeta"), keras.Input((4,), name="alpha")
    h = keras.layers.Concatenate()([a, b]) if joined else a - 2.0 * b
    return keras.Model(
        {"x": a, "y": b}, {"y": keras.layers.Dense(3, name="y")(h), "w": keras.layers.Dense(3, name="w")(b)}
    )


def by_name():
    return _named(2, True)


def by_name3():
    return _named(3, True)


def operated3():
    return _named(3, False)


def _pairs(*names):
    rng = np.random.default_rng(8)
    return lambda: [{name: rng.normal(size=(n, 4)).astype(np.float32) for name in names} for n in (1, 3)]


def _difference(keras, by_argument):
    class Listed(keras.Model):
        def __init__(self):
            super().__init__()
            self.a, self.b = keras.layers.Dense(3), keras.layers.Dense(3)

        def call(self, inputs):
            left, right = inputs
            return self.a(left) - 2.0 * self.b(right)

    class Positional(Listed):
        def call(self, left, right):
            return self.a(left) - 2.0 * self.b(right)

    return (Positional if by_argument else Listed)()


def listed3():
    return _difference(_keras(3), False)


def listed():
    model = _difference(_keras(2), False)
    model([np.zeros((1, 4), np.float32)] * 2)
    return model


def positional3():
    return _difference(_keras(3), True)


def positional():
    model = _difference(_keras(2), True)
    model(np.zeros((1, 4), np.float32), np.zeros((1, 4), np.float32))
    return model


def _module(function, *specs):
    import tensorflow as tf

    class Module(tf.Module):
        @tf.function(input_signature=[tf.TensorSpec(shape, dtype, name) for name, shape, dtype in specs])
        def __call__(self, *tensors):
            return function(tf, *tensors)

    return Module()


def coefficients():
    def of(tf, pcm):
        spectrogram = tf.abs(tf.signal.stft(pcm, 256, 128, 256))
        mel = tf.signal.linear_to_mel_weight_matrix(40, 129, 16000.0, 80.0, 7600.0)
        log_mel = tf.math.log(tf.tensordot(spectrogram, mel, 1) + 1e-6)
        return {"mfcc": tf.signal.mfccs_from_log_mel_spectrograms(log_mel)[..., :13]}

    return _module(of, ("pcm", [None, 1000], "float32"))


def _sounds():
    t, rng = np.arange(1000) / 16000, np.random.default_rng(8)
    tones = [np.sin(2 * np.pi * pitch * t) + rng.normal(0, 0.01, 1000) for pitch in (440, 900, 300)]
    return [{"pcm": np.stack(tones).astype(np.float32)}, {"pcm": tones[0][None].astype(np.float32)}]


_BOXES = (("boxes", [20, 4], "float32"), ("scores", [20], "float32"))


def suppressed():
    def of(tf, boxes, scores):
        keep = tf.image.non_max_suppression(boxes, scores, max_output_size=5, iou_threshold=0.5, score_threshold=0.2)
        return {"kept": tf.gather(boxes, keep)}

    return _module(of, *_BOXES)


def suppressed_and_padded():
    def of(tf, boxes, scores):
        keep, count = tf.image.non_max_suppression_padded(
            boxes, scores, 5, iou_threshold=0.5, score_threshold=0.2, pad_to_max_output_size=True
        )
        return {"kept": tf.where(tf.range(5)[:, None] < count, tf.gather(boxes, keep), 0.0)}

    return _module(of, *_BOXES)


def _boxes(seed=3):
    rng = np.random.default_rng(seed)
    centres = rng.uniform(0.2, 0.8, (3, 2))[rng.integers(0, 3, 20)] + rng.normal(0, 0.005, (20, 2))
    boxes = np.concatenate([centres - 0.1, centres + 0.1], axis=1).astype(np.float32)
    return [{"boxes": boxes, "scores": rng.uniform(0.3, 1, 20).astype(np.float32)}]


def boxes():
    """Golden: several calls' boxes, that overlap."""
    calls = [_boxes(seed)[0] for seed in range(10, 16)]
    return {name: np.stack([call[name] for call in calls]) for name in ("boxes", "scores")}


FRESH = {
    **dict.fromkeys(
        ("masked_average", "masked_average3", "masked_through_convolution", "masked_sum", "masked_attention"),
        _sentences,
    ),
    **dict.fromkeys(("masked_recurrent", "masked_sequence"), _series),
    **dict.fromkeys(("scaled_smoothly", "scaled_plainly", "leaking3", "normalised_by_batch"), _images()),
    "resized3": _images(255.0),
    "dilated": _images(sides=((17, 9), (24, 31))),
    "causal3": _signals,
    **dict.fromkeys(("by_name", "by_name3", "operated3"), _pairs("zeta", "alpha")),
    **dict.fromkeys(("listed", "listed3", "positional", "positional3"), _pairs("right", "left")),
    "coefficients": _sounds,
    **dict.fromkeys(("suppressed", "suppressed_and_padded"), _boxes),
}
