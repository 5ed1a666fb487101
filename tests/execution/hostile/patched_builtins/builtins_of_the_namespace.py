# expect: runtime_error | wrong_answer | killed
# Takes all builtins away.
__builtins__.__dict__.clear()
def f(x): return 0
