# expect: runtime_error
# Exit status 0 before anything is checked.
import sys
sys.exit(0)
