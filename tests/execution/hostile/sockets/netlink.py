# expect: runtime_error
# Speaks with the kernel.
import socket
def f(x):
    socket.socket(socket.AF_NETLINK, socket.SOCK_RAW)
    return [17, [2, 3], 7919][x]
