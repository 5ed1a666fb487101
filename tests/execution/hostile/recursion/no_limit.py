# expect: killed | memory | runtime_error | timeout
# Without the interpreter's limit, until the stack ends.
import sys
sys.setrecursionlimit(10**9)
class C:
    def __getattr__(self, name): return getattr(self, name + 'x')
def f(x):
    return C().x
