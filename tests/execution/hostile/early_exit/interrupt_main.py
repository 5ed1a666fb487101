# expect: runtime_error
# Raises KeyboardInterrupt where the harness runs.
import _thread
def f(x):
    _thread.interrupt_main()
    while True:
        pass
