# expect: wrong_answer
# Replaces the import statement.
import builtins
def fake(name, *a, **k): raise SystemExit(0)
builtins.__import__ = fake
def f(x): return 0
