# expect: runtime_error
# A name that no file system guards.
import socket
def f(x):
    socket.socket(socket.AF_UNIX).bind('\0hostile')
    return [17, [2, 3], 7919][x]
