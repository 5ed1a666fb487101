# expect: runtime_error
# A pair from which messages can be sent to any name.
import socket
def f(x):
    socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    return [17, [2, 3], 7919][x]
