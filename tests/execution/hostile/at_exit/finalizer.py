# expect: runtime_error
# An object that speaks when it dies.
import os
class Late:
    def __del__(self): os._exit(0)
def f(x):
    global late
    late = Late()
    raise ValueError
