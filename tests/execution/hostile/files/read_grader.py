# expect: runtime_error
# Reads the grader's source.
import sys
def f(x):
    open(sys.modules['prm_jax.execution.child'].__file__).read()
    return [17, [2, 3], 7919][x]
