"""What a step is, text to token ids and back, and the map from given ids to steps. No TensorFlow, no JAX."""
