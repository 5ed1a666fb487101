# expect: killed | memory | runtime_error | timeout
# The same in a thread with a stack of its own.
import sys, threading
sys.setrecursionlimit(10**9)
threading.stack_size(1 << 27)
def g(x): return g(x) + 1
def f(x):
    thread = threading.Thread(target=g, args=(x,))
    thread.start()
    thread.join()
    return 0
