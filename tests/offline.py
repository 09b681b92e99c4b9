"""Python without a network: this machine is all that it can reach.

In a network namespace of its own a command has no way out at all. Where a machine lets
nobody make one, Python refuses every address but this machine's: by an audit hook, in
the command and in whatever Python it starts.
"""

from __future__ import annotations

import functools
import os
import subprocess
import sys
from pathlib import Path

# SIOCSIFFLAGS with IFF_UP: the kernels of notebooks are spoken to over the loopback
LOOPBACK_UP = """
import fcntl, os, socket, struct, sys
with socket.socket() as any_socket:
    fcntl.ioctl(any_socket, 0x8914, struct.pack("16sH22x", b"lo", 1))
os.execv(sys.executable, [sys.executable, *sys.argv[1:]])
"""
HOOK = """
import sys
def refuse(event, arguments):
    if event in ("socket.connect", "socket.sendto"):
        host = arguments[1][0] if isinstance(arguments[1], tuple) else "localhost"
    elif event in ("socket.getaddrinfo", "socket.gethostbyname"):
        host = arguments[0]
    else:
        return
    if host not in (None, "", "localhost", "::1") and not str(host).startswith("127."):
        raise OSError(f"the network is cut: {host}")
sys.addaudithook(refuse)
"""
NAMESPACE = ("unshare", "--map-root-user", "--net")


@functools.cache
def namespaces() -> bool:
    """Whether this machine lets us make a network namespace."""
    try:
        done = subprocess.run([*NAMESPACE, "true"], capture_output=True, check=False)
    except FileNotFoundError:
        return False
    return done.returncode == 0


def python(
    arguments: list[str], folder: Path, namespace: bool
) -> subprocess.CompletedProcess[bytes]:
    """Run Python with these arguments, cut off; the hook is put into `folder`."""
    command, environment = [sys.executable, *arguments], dict(os.environ)
    if namespace:
        command = [*NAMESPACE, sys.executable, "-c", LOOPBACK_UP, *arguments]
    else:
        (folder / "sitecustomize.py").write_text(HOOK, encoding="utf-8")
        before = environment.get("PYTHONPATH", "")
        environment["PYTHONPATH"] = os.pathsep.join(filter(None, [str(folder), before]))
    return subprocess.run(command, env=environment, capture_output=True, check=False)
