"""A TVM RPC server on this machine alone, until its standard input ends.

`python -m tvm.exec.rpc_server` is the same behind a pool of processes that needs more packages.
"""

from __future__ import annotations

import os
import sys


def serve(port: int) -> None:
    """Serve on `port` of 127.0.0.1."""
    from tvm.rpc.server import PopenRPCServerState

    PopenRPCServerState("127.0.0.1", port, port + 1, silent=True)
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    os.read(0, 1)  # not through sys.stdin: a session is a fork, which would wait for its lock
    os._exit(0)


if __name__ == "__main__":
    serve(int(sys.argv[1]))
