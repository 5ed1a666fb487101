# expect: wrong_answer | killed
# Replaces the functions that encode and send.
import sys
for name, module in list(sys.modules.items()):
    if name.startswith('prm_jax.execution') and module is not sys.modules.get('prm_jax'):
        for function in ('encode', '_encode', '_call'):
            if hasattr(module, function):
                setattr(module, function, lambda *a, **k: ['a', True] if len(a) > 3 else True)
def f(x): return None
