# expect: timeout
# cpu: 0.01
# Uses no CPU, for hours.
import time
def f(x):
    time.sleep(10000)
