"""Eight simulated CPU devices for the whole session, so that sharding is tested wherever the tests run.

The compiler's optimisations are off: small tests spend their time in compiling, and results do not depend on them.
"""

import os

os.environ["XLA_FLAGS"] = " ".join(
    (
        os.environ.get("XLA_FLAGS", ""),
        "--xla_backend_optimization_level=0",
        "--xla_llvm_disable_expensive_passes=true",
    )
)

import jax  # Behind the flags, which XLA reads when JAX is imported.

jax.config.update("jax_num_cpu_devices", 8)
