# expect: runtime_error
# Has the kernel signal the parent when a pipe is written to.
import fcntl, os
def f(x):
    source, sink = os.pipe()
    fcntl.fcntl(source, fcntl.F_SETOWN, os.getppid())
    return [17, [2, 3], 7919][x]
