# expect: killed
# The process ends at once, with status 0.
import os
os._exit(0)
