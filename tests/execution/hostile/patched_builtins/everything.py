# expect: wrong_answer | killed
# Patches what a grader is likely to use.
import builtins, json, ast, os
builtins.all = builtins.any = lambda *a: True
builtins.isinstance = lambda *a: True
builtins.len = lambda *a: 3
builtins.type = lambda *a: int
builtins.repr = builtins.str = lambda *a: '7'
builtins.AssertionError = Exception
json.dumps = lambda *a, **k: '["a", true]'
json.JSONEncoder.encode = lambda *a, **k: '["a", true]'
ast.literal_eval = lambda *a: None
def f(x): return None
