# expect: runtime_error
# Raises its own limits, as root may.
import resource
def f(x):
    resource.setrlimit(resource.RLIMIT_AS, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    return [17, [2, 3], 7919][x]
