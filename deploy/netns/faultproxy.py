#!/usr/bin/env python3
"""A TCP proxy that breaks connections as networks do: delay, stalls, resets at random byte offsets, half-open ends.

    faultproxy.py --listen 127.0.0.1:7000 --connect 127.0.0.1:5599 --seed 1 --reset-after 10000:3000000 --delay-ms 0:20

Faults (each off by default, all at once if you like):
    --delay-ms A:B       each piece waits this long, in order, before it is passed on
    --rate BYTES         at most this many bytes per second and direction
    --stall P:A:B        before a piece, with probability P, the connection pauses for A to B seconds
    --reset-after A:B    after this many bytes (both directions together) both ends get a reset (RST), in the middle of anything
    --half-open P        with this probability the connection is not reset then, but goes silent: both ends stay open and hear nothing
                         more. It ends after --half-open-seconds (default 60)
    --refuse P           a new connection is reset at once with this probability
    --faults-for S       after S seconds there are no new faults, and open connections are finished without any
One line of JSON for each connection's fate on standard output, and at SIGTERM or SIGINT a summary. What happens depends on the seed,
the number of the connection and the bytes, not on the time: the same traffic meets the same faults. Python 3.8 or newer, nothing else.
"""
import argparse
import asyncio
import json
import random
import signal
import socket
import struct
import sys
import time


def pair(text, kind=float):
    """A:B, or A alone for A:A."""
    first, _, last = text.partition(":")
    low, high = kind(first), kind(last or first)
    if low > high or low < 0:
        raise argparse.ArgumentTypeError(f"{text} is not a range A:B")
    return low, high


def endpoint(text):
    host, _, port = text.rpartition(":")
    if not port.isdigit():
        raise argparse.ArgumentTypeError(f"{text} is not HOST:PORT")
    return host.strip("[]") or "127.0.0.1", int(port)


def stall(text):
    words = text.split(":")
    if len(words) != 3:
        raise argparse.ArgumentTypeError(f"{text} is not P:A:B")
    return float(words[0]), float(words[1]), float(words[2])


class Reset(Exception):
    """The connection's time has come."""


class Connection:
    """One client, one server, two directions."""

    def __init__(self, proxy, number, client):
        self.proxy, self.options, self.number = proxy, proxy.options, number
        # String seeds are the same on every Python; one stream for each use, so that one fault does not shift another's numbers.
        self.random = {name: random.Random(f"{self.options.seed}/{number}/{name}") for name in ("fate", "up", "down")}
        self.client, self.server = client, None
        self.bytes = {"up": 0, "down": 0}
        fate, limit = self.random["fate"], self.options.reset_after
        self.limit = fate.randint(int(limit[0]), int(limit[1])) if limit else None
        self.goes_silent = fate.random() < self.options.half_open
        self.refused = fate.random() < self.options.refuse
        self.stalls = 0

    async def serve(self):
        loop = asyncio.get_running_loop()
        end = "closed"
        try:
            if self.refused and not self.proxy.honest:
                raise Reset
            self.server = socket.socket(socket.AF_INET6 if ":" in self.options.connect[0] else socket.AF_INET)
            self.server.setblocking(False)
            await loop.sock_connect(self.server, self.options.connect)
            for end_socket in (self.client, self.server):
                end_socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            await self.both(self.pump("up", self.client, self.server), self.pump("down", self.server, self.client))
        except Reset:
            end = "refused" if self.refused and self.server is None else "reset"
            if end == "reset" and self.goes_silent:
                end = "half-open"
                await asyncio.sleep(self.options.half_open_seconds)
            self.reset()
        except OSError as error:
            end = f"lost ({error.strerror})"
            self.reset()
        finally:
            for end_socket in (self.client, self.server):
                if end_socket:
                    end_socket.close()
            self.proxy.report({"connection": self.number, "end": end, "limit": self.limit, "stalls": self.stalls, **self.bytes})

    @staticmethod
    async def both(*pumps):
        """Runs until both directions are done; a fault in one ends the other."""
        tasks = [asyncio.ensure_future(pump) for pump in pumps]
        try:
            await asyncio.gather(*tasks)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    def reset(self):
        for end_socket in (self.client, self.server):
            if end_socket:
                try:
                    # Closing with a linger time of zero sends RST instead of FIN.
                    end_socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                except OSError:
                    pass

    async def pump(self, direction, source, target):
        """Carries one direction. Pieces wait in a queue, so that a delay does not lower the rate."""
        queue = asyncio.Queue(maxsize=64)
        reader = asyncio.ensure_future(self.read(direction, source, queue))
        loop = asyncio.get_running_loop()
        free_at = 0.0
        try:
            while True:
                due, piece, is_last = await queue.get()
                await asyncio.sleep(max(0.0, due - time.monotonic()))
                if piece:
                    if self.options.rate and not self.proxy.honest:
                        free_at = max(free_at, time.monotonic()) + len(piece) / self.options.rate
                        await asyncio.sleep(max(0.0, free_at - time.monotonic()))
                    await loop.sock_sendall(target, piece)
                if is_last == "fault":
                    raise Reset
                if is_last:
                    target.shutdown(socket.SHUT_WR)
                    return
        finally:
            reader.cancel()

    async def read(self, direction, source, queue):
        loop, chance = asyncio.get_running_loop(), self.random[direction]
        try:
            while True:
                piece = await loop.sock_recv(source, 65536)
                wait = chance.uniform(*self.options.delay_ms) / 1000 if self.options.delay_ms else 0.0
                if self.options.stall and chance.random() < self.options.stall[0] and not self.proxy.honest:
                    self.stalls += 1
                    wait += chance.uniform(*self.options.stall[1:])
                is_last = not piece
                if self.limit is not None and not self.proxy.honest:
                    left = self.limit - self.bytes["up"] - self.bytes["down"]
                    if len(piece) >= left:
                        # The first bytes still go through: a cut falls anywhere in a frame.
                        piece, is_last = piece[:max(0, left)], "fault"
                self.bytes[direction] += len(piece)
                await queue.put((time.monotonic() + (0 if self.proxy.honest else wait), piece, is_last))
                if is_last:
                    return
        except OSError:
            await queue.put((0.0, b"", "fault"))


class Proxy:
    def __init__(self, options):
        self.options, self.count, self.ends = options, 0, {}
        self.started = time.monotonic()

    @property
    def honest(self):
        return self.options.faults_for is not None and time.monotonic() - self.started > self.options.faults_for

    def report(self, fate):
        kind = fate["end"].split(" ")[0]
        self.ends[kind] = self.ends.get(kind, 0) + 1
        print(json.dumps(fate), flush=True)

    async def serve(self):
        host, port = self.options.listen
        listener = socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET)
        listener.setblocking(False)
        loop, connections = asyncio.get_running_loop(), set()
        stop = loop.create_future()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, lambda: stop.done() or stop.set_result(None))
        print(json.dumps({"listen": "%s:%d" % listener.getsockname()[:2], "seed": self.options.seed}), flush=True)

        async def accept():
            while True:
                client, _ = await loop.sock_accept(listener)
                client.setblocking(False)
                self.count += 1
                task = asyncio.ensure_future(Connection(self, self.count, client).serve())
                connections.add(task)
                task.add_done_callback(connections.discard)

        accepting = asyncio.ensure_future(accept())
        await asyncio.wait([accepting, stop], return_when=asyncio.FIRST_COMPLETED)
        accepting.cancel()
        for task in list(connections):
            task.cancel()
        await asyncio.gather(accepting, *connections, return_exceptions=True)
        print(json.dumps({"connections": self.count, "ends": self.ends, "seed": self.options.seed}), flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--listen", type=endpoint, required=True, metavar="HOST:PORT", help="port 0: any free one, which is printed")
    parser.add_argument("--connect", type=endpoint, required=True, metavar="HOST:PORT")
    parser.add_argument("--seed", type=int, help="default: random, printed")
    parser.add_argument("--delay-ms", type=pair, metavar="A:B")
    parser.add_argument("--rate", type=float, metavar="BYTES")
    parser.add_argument("--stall", type=stall, metavar="P:A:B")
    parser.add_argument("--reset-after", type=pair, metavar="A:B")
    parser.add_argument("--half-open", type=float, default=0.0, metavar="P")
    parser.add_argument("--half-open-seconds", type=float, default=60.0, metavar="S")
    parser.add_argument("--refuse", type=float, default=0.0, metavar="P")
    parser.add_argument("--faults-for", type=float, metavar="S")
    options = parser.parse_args()
    if options.seed is None:
        options.seed = random.SystemRandom().randrange(1 << 32)
    try:
        asyncio.run(Proxy(options).serve())
    except OSError as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main()
