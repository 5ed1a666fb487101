# expect: timeout
# Ignores the signals of all limits and swallows all exceptions.
import signal
for number in (signal.SIGALRM, signal.SIGXCPU, signal.SIGTERM, signal.SIGINT):
    signal.signal(number, signal.SIG_IGN)
def f(x):
    while True:
        try:
            while True: pass
        except BaseException: pass
