"""The model that the battery harms: one input, two outputs alike in dtype and shape, and weights whose every bit matters."""

KEY, INPUT, OUTPUTS = "serving_default", "features", ("scores", "amount")

CODE = """
import tf_keras

def build():
    tf_keras.utils.set_random_seed(3)
    layers = tf_keras.layers
    given = layers.Input((6,), name="features")
    hidden = layers.Dense(8, "relu", bias_initializer="random_normal", name="hidden")(given)
    scores = layers.Dense(3, bias_initializer="random_normal", name="scores")(hidden)
    amount = layers.Dense(3, bias_initializer="random_normal", name="amount")(hidden)
    return tf_keras.Model(given, [scores, amount], name="pair")
"""
