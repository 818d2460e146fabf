#!/usr/bin/env bash
# anyio 4.16.0: a send() that is cancelled cuts a line on a Unix socket, and finishes it on TCP
#
# A good guess: one program, one API. With `move_on_after(0.3): await stream.send(line)` and a peer
# that does not read, connect_unix() and connect_tcp() leave the stream in the same state, whichever
# that is, and the event loop below makes no difference.
#
# What really happens: on the asyncio backend the TCP stream has handed the WHOLE line to its
# transport before it waits, so a cancelled send is still carried out, and the next line begins on a
# line of its own. The Unix stream writes to the socket itself: what fitted is sent, the rest is
# dropped, and the next send continues in the middle of the line. The peer reads one long broken line
# instead of two, and the second message, whose send() returned without any error, is gone too. On
# the trio backend both kinds of stream do the latter. No exception tells the cases apart, and the
# documentation of ByteSendStream.send says nothing about cancellation.
#
# Source: anyio 4.16.0, src/anyio/_backends/_asyncio.py: SocketStream.send (transport.write, then waits
# for the protocol's write event) beside UNIXSocketStream.send (a loop over socket.send with a
# memoryview that the cancellation throws away); _backends/_trio.py: SocketStream.send, which
# UNIXSocketStream inherits, a loop of that kind for both. trio 0.35.0 documents this of its own
# send_all.
#
# Why it matters for telex: its main address is a Unix socket, its framing is the line, and a time-out
# around "send" is the usual way to survive a switch that is slow to read. Code that was tried over
# TCP, or whose test peer always reads, breaks the framing in production only. A client has to close
# the connection after a send that was cut short.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"

python3 -m pip --quiet --disable-pip-version-check install --target packages anyio==4.16.0 trio==0.35.0
export PYTHONPATH=$work/packages
python3 --version
python3 -c 'from importlib.metadata import version as v; print("anyio", v("anyio"), "trio", v("trio"))'

cat >try.py <<'END'
import anyio, json, socket, sys, threading

FIRST = json.dumps({"message_id": 1, "body": "x" * 40_000_000}).encode() + b"\n"
SECOND = json.dumps({"message_id": 2}).encode() + b"\n"


def listener(kind):
    if kind == "unix":
        server = socket.socket(socket.AF_UNIX)
        server.bind(f"{kind}-{backend}.sock")
    else:
        server = socket.socket()
        server.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
        server.bind(("127.0.0.1", 0))
    server.listen()
    return server


def peer(server, reads, got):
    connection, _ = server.accept()
    reads.wait()
    while chunk := connection.recv(1 << 20):
        got += chunk


async def client(address, reads):
    connect = anyio.connect_unix(address) if isinstance(address, str) else anyio.connect_tcp(*address)
    async with await connect as stream:
        with anyio.move_on_after(0.3) as limit:
            await stream.send(FIRST)
        reads.set()
        await stream.send(SECOND)  # no error in any case
        await stream.send_eof()
        await anyio.sleep(1)
    return limit.cancelled_caught


as_seen = {("asyncio", "tcp"): "2 whole lines", ("asyncio", "unix"): "1 broken line",
           ("trio", "tcp"): "1 broken line", ("trio", "unix"): "1 broken line"}
changed = False
for (backend, kind), expected in as_seen.items():
    server, reads, got = listener(kind), threading.Event(), bytearray()
    thread = threading.Thread(target=peer, args=(server, reads, got))
    thread.start()
    cancelled = anyio.run(client, server.getsockname(), reads, backend=backend)
    thread.join()
    lines = bytes(got).splitlines()
    if lines == [FIRST.strip(), SECOND.strip()]:
        seen = "2 whole lines"
    elif len(lines) == 1 and lines[0].endswith(SECOND.strip()) and len(got) < len(FIRST):
        seen = "1 broken line"
    else:
        seen = f"something else: lines of {[len(line) for line in lines]}"
    print(f"{backend:8}{kind:5} first send cancelled: {cancelled}; the peer got {len(got):>9} bytes, {seen}")
    changed |= seen != expected or not cancelled
sys.exit("CHANGED: this is not what was found" if changed else 0)
END
timeout 150 python3 try.py
echo "as found: a cancelled send is completed on asyncio over TCP alone"
