"""ww-relay between the peer and ours (rig.py's picture): started with what it is to do, stopped with what it did."""
import json
import re
import signal

import rig
import tap


class Relay:
    """to_us, from_us: specs of relay/decide.h.  As a context: what it was asked for and did not do fails the case."""

    def __init__(self, wire, to_us="", from_us="", seed=1, replay=None, ours=f"packet:{rig.TAP}", peer="packet:mid0"):
        self.trace_file = f"{wire.folder}/relay.{len(wire.programs)}.trace"
        more = ["--replay", replay] if replay else ["--ab", to_us, "--ba", from_us, "--seed", seed]
        with wire.inside(wire.middle):
            self.program = wire.program("ww-relay ready", wire.relay_program, "--a", peer, "--b", ours, "--trace", self.trace_file, *more)

    def __enter__(self):
        return self

    def __exit__(self, kind, *_):
        if kind is None:
            self.stop()
        else:
            print(f"# {self.end()[1][-2000:]}")

    def end(self):
        """Exit status, and what it said."""
        self.program.process.send_signal(signal.SIGTERM)
        return self.program.process.wait(rig.BOUND), self.program.said()

    def stop(self):
        """What it did: {"to_us": {...}, "from_us": {...}}."""
        status, said = self.end()
        tap.equal(status, 0, said)
        did = json.loads(re.search(r"^\{.*\}$", said, re.M)[0])
        return {"to_us": did["ab"], "from_us": did["ba"]}

    def decisions(self, direction="to_us"):
        """The lines of the trace about counted frames, in their order; one still being written is not there yet."""
        with open(self.trace_file, encoding="ascii") as f:
            lines = [json.loads(line) for line in f if line.endswith("\n")]
        name = {"to_us": "ab", "from_us": "ba"}[direction]
        return [line for line in lines if line.get("dir") == name and "n" in line]
