# expect: wrong_answer
# Other modules under the names that a harness asks for.
import sys, types
for name in list(sys.modules):
    sys.modules[name] = types.ModuleType(name)
def f(x): return None
