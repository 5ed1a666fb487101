# expect: wrong_answer | killed | runtime_error
# Swaps the code object of the function that calls it.
import sys
def call(call, in_child, space, tracer): return ['a', True]
module = sys.modules['prm_jax.execution.child']
module._call.__code__ = call.__code__
def f(x): return None
