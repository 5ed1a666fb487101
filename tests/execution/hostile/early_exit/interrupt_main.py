# expect: runtime_error | timeout
# Raises KeyboardInterrupt where the harness runs.
import _thread
def f(x):
    _thread.interrupt_main()
    while True:
        pass
