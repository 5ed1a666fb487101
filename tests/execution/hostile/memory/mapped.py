# expect: memory | runtime_error
# Memory from the system, past the interpreter.
import mmap
def f(x):
    return len(mmap.mmap(-1, 1 << 36))
