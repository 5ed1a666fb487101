# expect: runtime_error
# The same over IPv6.
import socket
def f(x):
    socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
    return [17, [2, 3], 7919][x]
