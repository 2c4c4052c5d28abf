"""Chooses, by the seed of a world of `notify`, what happens next: work and faults; at the end no more faults."""

from collections import Counter
from dataclasses import dataclass, field

from .notify_world import NotifyProcess, NotifyWorld

MAX_PROCESSES = 3
#: steps without faults after which all work must be done
CALM_STEPS = 3000
#: wall clocks are set back or forward by so much, and never further off in all
MOST_JUMP_S, MOST_OFF_S = 6 * 3600.0, 12 * 3600.0

#: what may happen, and how often
WEIGHTS = {
    "run": 60.0,
    "attempt": 40.0,
    "answer": 40.0,
    "write": 6.0,
    "assign": 12.0,
    "wait": 1.5,
    "summary": 1.0,
    "start": 0.7,
    "kill": 0.4,
    "freeze": 0.3,
    "thaw": 1.5,
    "rebalance": 0.3,
    "fail": 2.0,
    "repeat": 1.0,
    "broker_away": 0.2,
    "broker_back": 3.0,
    "receiver_down": 0.4,
    "receiver_up": 1.5,
    "long_outage": 0.1,
    "wall_jump": 0.5,
    "terminate": 0.2,
}
#: a single process that loses its broker while the group goes on without it
CUT_WEIGHTS = {"cut": 0.4, "mend": 1.0}


@dataclass
class NotifyDriver:
    """Drives one world."""

    world: NotifyWorld
    cuts: bool = False
    happened: Counter[str] = field(default_factory=Counter)
    _wall_off_s: float = 0.0

    def play(self, steps: int) -> None:
        """So many steps with faults."""
        weights = WEIGHTS | (CUT_WEIGHTS if self.cuts else {})
        self.world.start()
        for _ in range(steps):
            [name] = self.world.random.choices([*weights], [*weights.values()])
            if getattr(self, f"_{name}")():
                self.happened[name] += 1

    def finish_calmly(self) -> None:
        """No more faults: the processes that are left do the work and stop."""
        world = self.world
        world.away = False
        for inbox in world.inboxes.values():
            inbox.down = False
        for process in list(world.processes):
            if process.stop.is_set():
                self._run_to_its_end(process)
            else:
                process.frozen = process.cut = process.fails = False
                process.silent_since_s = None
        world.written = {partition: len(log) for partition, log in world.logs.items()}
        if not world.processes:
            world.start()
        for _ in range(CALM_STEPS):
            self._calm_step()
            if self._is_done():
                break
        assert self._is_done(), f"work is left: {world.committed}"
        for process in list(world.processes):
            process.stop.set()
            self._run_to_its_end(process)

    def _calm_step(self) -> None:
        world = self.world
        if world.unassigned:
            world.assign()
        world.advance(0.3)
        world.summaries += 1
        for process in world.processes:
            process.go_on()
            for name in process.deliveries.queues:
                process.deliveries.begin(name)
                if name in process.deliveries.attempts:
                    process.deliveries.finish(name)

    def _is_done(self) -> bool:
        """Is everything committed, by all sinks?"""
        world = self.world
        return not world.unassigned and all(
            world.committed.get(partition, (0, ""))[0] == world.end(partition) for partition in world.logs
        )

    def _run_to_its_end(self, process: NotifyProcess) -> None:
        for _ in range(CALM_STEPS):
            if process.ended:
                self.world.processes.remove(process)
                self.world.revoke()
                return
            self._calm_attempts(process)
            process.go_on()
        raise AssertionError(f"process {process.number} does not end: it waits for {process.waits_for}")

    def _calm_attempts(self, process: NotifyProcess) -> None:
        self.world.advance(0.05)
        for name in process.deliveries.queues:
            process.deliveries.begin(name)
            if name in process.deliveries.attempts:
                process.deliveries.finish(name)

    def _awake(self) -> list[NotifyProcess]:
        return [process for process in self.world.processes if not process.frozen]

    def _pick(self) -> NotifyProcess | None:
        awake = self._awake()
        return self.world.random.choice(awake) if awake else None

    def _run(self) -> bool:
        process = self._pick()
        if process is None:
            return not self.world.processes and self._start()
        self.world.advance(self.world.random.uniform(0.0, 0.1))
        process.go_on()
        if process.ended:  # it was told to stop
            self.world.processes.remove(process)
            self.world.revoke()
        return True

    def _attempt(self) -> bool:
        process = self._pick()
        return process is not None and process.deliveries.begin(self.world.random.choice([*self.world.inboxes]))

    def _answer(self) -> bool:
        under_way = [(process, name) for process in self._awake() for name in process.deliveries.attempts]
        if under_way:
            process, name = self.world.random.choice(under_way)
            self.world.advance(self.world.random.uniform(0.0, 0.1))
            process.deliveries.finish(name)
        return bool(under_way)

    def _write(self) -> bool:
        partition = self.world.random.choice(sorted(self.world.logs))
        more = self.world.written[partition] < len(self.world.logs[partition])
        self.world.written[partition] += more
        return more

    def _assign(self) -> bool:
        pending = self.world.unassigned
        if pending:
            self.world.assign()
        return pending

    def _wait(self) -> bool:
        self.world.advance(self.world.random.uniform(0.5, 5.0))
        return True

    def _summary(self) -> bool:
        self.world.summaries += 1
        return True

    def _start(self) -> bool:
        if len(self.world.processes) >= MAX_PROCESSES:
            return False
        self.world.start()
        return True

    def _kill(self) -> bool:
        if not self.world.processes:
            return False
        self.world.kill(self.world.random.choice(self.world.processes))
        return True

    def _freeze(self) -> bool:
        process = self._pick()
        if process is None or process.cut:
            return False
        process.frozen, process.silent_since_s = True, self.world.monotonic_s
        if self.world.random.random() < 0.7:  # the group notices
            self.world.revoke()
        return True

    def _thaw(self) -> bool:
        frozen = [process for process in self.world.processes if process.frozen]
        if frozen:
            process = self.world.random.choice(frozen)
            process.frozen, process.silent_since_s = False, None
        return bool(frozen)

    def _cut(self) -> bool:
        process = self._pick()
        if process is None:
            return False
        process.cut, process.silent_since_s = True, self.world.monotonic_s
        if self.world.random.random() < 0.7:
            self.world.revoke()
        return True

    def _mend(self) -> bool:
        cut = [process for process in self.world.processes if process.cut and not process.frozen]
        if cut:
            process = self.world.random.choice(cut)
            process.cut, process.silent_since_s = False, None
        return bool(cut)

    def _rebalance(self) -> bool:
        self.world.revoke()
        return True

    def _fail(self) -> bool:
        process = self._pick()
        if process is not None:
            process.fails = True
        return process is not None

    def _repeat(self) -> bool:
        process = self._pick()
        if process is not None:
            process.repeats = self.world.random.randint(1, 5)
        return process is not None

    def _broker_away(self) -> bool:
        before, self.world.away = self.world.away, True
        return not before

    def _broker_back(self) -> bool:
        before, self.world.away = self.world.away, False
        return before

    def _receiver_down(self) -> bool:
        self.world.inboxes[self.world.random.choice([*self.world.inboxes])].down = True
        return True

    def _receiver_up(self) -> bool:
        down = [inbox for inbox in self.world.inboxes.values() if inbox.down]
        if down:
            self.world.random.choice(down).down = False
        return bool(down)

    def _long_outage(self) -> bool:
        """A receiver is down until messages are given up; processes run on meanwhile."""
        if not any(inbox.down for inbox in self.world.inboxes.values()):
            return False
        for _ in range(120):
            self.world.advance(6.0)
            for process in self._awake():
                process.go_on()
                for name in process.deliveries.queues:
                    process.deliveries.begin(name)
                    if name in process.deliveries.attempts:
                        process.deliveries.finish(name)
                if process.ended:
                    self.world.processes.remove(process)
                    self.world.revoke()
        return True

    def _wall_jump(self) -> bool:
        jump_s = self.world.random.uniform(-MOST_JUMP_S, MOST_JUMP_S)
        if abs(self._wall_off_s + jump_s) > MOST_OFF_S:
            return False
        self._wall_off_s += jump_s
        self.world.wall_s += jump_s
        return True

    def _terminate(self) -> bool:
        process = self._pick()
        if process is not None:
            process.stop.set()
        return process is not None
