# expect: runtime_error
# A service of this machine.
import socket
def f(x):
    socket.socket(socket.AF_UNIX).bind('/tmp/hostile-socket')
    return [17, [2, 3], 7919][x]
