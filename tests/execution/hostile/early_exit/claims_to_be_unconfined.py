# expect: killed
# Ends as a child does that could not be confined, to be excused.
import os
os._exit(71)
