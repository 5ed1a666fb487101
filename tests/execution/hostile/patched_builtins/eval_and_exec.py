# expect: wrong_answer
# The harness's own eval, had it not taken it before.
import builtins
builtins.eval = builtins.exec = builtins.compile = lambda *a, **k: True
def f(x): return None
