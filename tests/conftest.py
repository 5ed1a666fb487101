"""Eight simulated CPU devices for the whole session, so that sharding is tested wherever the tests run."""

import jax

jax.config.update("jax_num_cpu_devices", 8)
