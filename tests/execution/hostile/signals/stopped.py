# expect: timeout
# cpu: 0.01
# Stops itself and waits for nobody.
import os, signal
def f(x):
    os.kill(os.getpid(), signal.SIGSTOP)
