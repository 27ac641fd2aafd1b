#!/usr/bin/env python3
"""Tests of faultproxy.py: python3 deploy/netns/test_faultproxy.py. Each fault is shown to happen when requested, and not otherwise."""
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import unittest
from pathlib import Path

PROXY = str(Path(__file__).resolve().with_name("faultproxy.py"))


class Echo:
    """Sends back what it gets. One thread for each connection."""

    def __init__(self):
        self.server = socket.create_server(("127.0.0.1", 0))
        self.port = self.server.getsockname()[1]
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            try:
                peer, _ = self.server.accept()
            except OSError:
                return
            threading.Thread(target=self.answer, args=(peer,), daemon=True).start()

    @staticmethod
    def answer(peer):
        with peer:
            try:
                while True:
                    data = peer.recv(1 << 16)
                    if not data:
                        return
                    peer.sendall(data)
            except OSError:
                pass


class Proxied:
    """A proxy with the given faults before an echo server."""

    def __init__(self, *faults):
        self.echo = Echo()
        command = [sys.executable, PROXY, "--listen", "127.0.0.1:0", "--connect", f"127.0.0.1:{self.echo.port}", *faults]
        self.process = subprocess.Popen(command, text=True, stdout=subprocess.PIPE)
        self.port = int(json.loads(self.process.stdout.readline())["listen"].rpartition(":")[2])

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.end()
        self.echo.server.close()

    def end(self):
        """All reports. The last one is the summary."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        lines = self.process.stdout.read().splitlines()
        self.process.wait(10)
        self.process.stdout.close()
        self.end = lambda: reports
        reports = [json.loads(line) for line in lines]
        return reports

    def send(self, data, timeout=10):
        """- Returns: the bytes that came back, and what ended it: "end", "reset", "silence"."""
        back = bytearray()
        try:
            peer = socket.create_connection(("127.0.0.1", self.port), timeout=timeout)
        except ConnectionResetError:
            return b"", "reset"
        with peer:
            def write():
                try:
                    peer.sendall(data)
                    peer.shutdown(socket.SHUT_WR)
                except OSError:
                    pass
            threading.Thread(target=write, daemon=True).start()
            try:
                while True:
                    piece = peer.recv(1 << 16)
                    if not piece:
                        return bytes(back), "end"
                    back += piece
            except ConnectionResetError:
                return bytes(back), "reset"
            except socket.timeout:
                return bytes(back), "silence"


class FaultProxyTest(unittest.TestCase):
    data = os.urandom(3_000_000)

    def test_is_honest_when_nothing_is_asked_for(self):
        with Proxied("--seed", "1") as proxy:
            for _ in range(3):
                self.assertEqual(proxy.send(self.data), (self.data, "end"))
            reports = proxy.end()
        self.assertEqual(reports[-1]["ends"], {"closed": 3})
        self.assertEqual((reports[0]["up"], reports[0]["down"]), (3_000_000, 3_000_000))

    def test_resets_at_the_chosen_byte_and_the_same_again_for_the_same_seed(self):
        limits = []
        for seed in ("7", "7", "8"):
            with Proxied("--seed", seed, "--reset-after", "1000:2000000") as proxy:
                for _ in range(4):
                    back, end = proxy.send(self.data)
                    self.assertEqual(end, "reset")
                    self.assertLess(len(back), 2_000_000)
                    self.assertTrue(self.data.startswith(back))
                reports = proxy.end()[:-1]
            for report in reports:
                self.assertEqual(report["end"], "reset")
                self.assertEqual(report["up"] + report["down"], report["limit"])
            limits.append([report["limit"] for report in sorted(reports, key=lambda report: report["connection"])])
        self.assertEqual(limits[0], limits[1])
        self.assertNotEqual(limits[0], limits[2])

    def test_goes_silent(self):
        with Proxied("--seed", "1", "--reset-after", "100000", "--half-open", "1", "--half-open-seconds", "2") as proxy:
            started = time.monotonic()
            back, end = proxy.send(self.data, timeout=1)
            self.assertEqual(end, "silence")
            self.assertLess(len(back), 100_000)
            self.assertGreater(time.monotonic() - started, 0.9)

    def test_delays_without_lowering_the_rate(self):
        with Proxied("--seed", "1", "--delay-ms", "200:200") as proxy:
            started = time.monotonic()
            self.assertEqual(proxy.send(self.data), (self.data, "end"))
            seconds = time.monotonic() - started
        self.assertGreater(seconds, 0.4)
        self.assertLess(seconds, 3)

    def test_limits_the_rate(self):
        with Proxied("--seed", "1", "--rate", "3e6") as proxy:
            started = time.monotonic()
            self.assertEqual(proxy.send(self.data), (self.data, "end"))
            self.assertGreater(time.monotonic() - started, 0.9)

    def test_stalls(self):
        with Proxied("--seed", "1", "--stall", "1:0.3:0.3") as proxy:
            started = time.monotonic()
            self.assertEqual(proxy.send(b"x"), (b"x", "end"))
            self.assertGreater(time.monotonic() - started, 0.5)
            self.assertGreater(proxy.end()[0]["stalls"], 1)

    def test_refuses(self):
        with Proxied("--seed", "1", "--refuse", "1") as proxy:
            self.assertEqual(proxy.send(b"x"), (b"", "reset"))

    def test_becomes_honest(self):
        with Proxied("--seed", "1", "--reset-after", "1000", "--refuse", "0.5", "--faults-for", "0.5") as proxy:
            self.assertEqual(proxy.send(self.data)[1], "reset")
            time.sleep(0.6)
            self.assertEqual(proxy.send(self.data), (self.data, "end"))

    def test_says_what_is_wrong(self):
        for words in (["--reset-after", "9:1"], ["--stall", "1"], ["--listen", "x"]):
            command = [sys.executable, PROXY, "--listen", "127.0.0.1:0", "--connect", "127.0.0.1:1", *words]
            result = subprocess.run(command, stderr=subprocess.PIPE, text=True)
            self.assertEqual(result.returncode, 2)
            self.assertIn(words[0], result.stderr)


if __name__ == "__main__":
    unittest.main()
