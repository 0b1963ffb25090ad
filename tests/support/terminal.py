"""Runs a program in a pseudo terminal that its standard input controls, a line of JSON for each thing to do.

What the program writes goes to standard output. In the end, a line of JSON on standard error says how it ended, and whether the
terminal has the settings that it had before.
"""
import fcntl, json, os, select, signal, struct, sys, termios

rows, columns = int(sys.argv[1]), int(sys.argv[2])
master, slave = os.openpty()


def resize(rows, columns):
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))


resize(rows, columns)
before = termios.tcgetattr(slave)
child = os.fork()
if child == 0:
    os.close(master)
    os.setsid()
    fcntl.ioctl(slave, termios.TIOCSCTTY, 0)
    for fd in (0, 1, 2):
        os.dup2(slave, fd)
    os.execvp(sys.argv[3], sys.argv[3:])

during = before
pending = b""
is_open = True
while True:
    ready, _, _ = select.select([master] + ([0] if is_open else []), [], [], 0.05)
    if master in ready:
        sys.stdout.buffer.write(os.read(master, 65536))
        sys.stdout.buffer.flush()
    if 0 in ready:
        read = os.read(0, 65536)
        is_open = read != b""
        pending += read
        *lines, pending = pending.split(b"\n")
        for line in lines:
            todo = json.loads(line)
            if "keys" in todo:
                during = termios.tcgetattr(slave)
                os.write(master, todo["keys"].encode())
            if "size" in todo:
                resize(*todo["size"])
                os.kill(child, signal.SIGWINCH)
            if "signal" in todo:
                os.kill(child, getattr(signal, todo["signal"]))
    ended, status = os.waitpid(child, os.WNOHANG)
    if ended:
        break

while select.select([master], [], [], 0.1)[0]:
    sys.stdout.buffer.write(os.read(master, 65536))
sys.stdout.buffer.flush()
after = termios.tcgetattr(slave)
code = os.WEXITSTATUS(status) if os.WIFEXITED(status) else -os.WTERMSIG(status)
json.dump({"code": code, "was_raw": during != before, "is_restored": after == before}, sys.stderr)
