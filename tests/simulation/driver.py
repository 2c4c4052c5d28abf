"""Chooses, by the seed of a world, what happens next: work and faults; at the end no more faults, until all is done."""

from collections import Counter
from dataclasses import dataclass, field

from leeboard.pipelines.runtime.backend import WriteFailed

from .world import Process, Question, World

MAX_PROCESSES = 3
#: steps without faults after which all work must be done
CALM_STEPS = 4000

#: what may happen, and how often
WEIGHTS = {
    "answer": 60,
    "deliver": 25,
    "tick": 12,
    "start": 1,
    "kill": 1,
    "freeze": 1,
    "thaw": 2,
    "rebalance": 1,
    "fail": 1,
    "skip": 1,
    "repeat": 1,
}


@dataclass
class Driver:
    """Drives one world."""

    world: World
    happened: Counter[str] = field(default_factory=Counter)

    async def play(self, steps: int) -> None:
        """Play so many steps with faults."""
        names, weights = list(WEIGHTS), list(WEIGHTS.values())
        self._start()
        for _ in range(steps):
            await self.world.settle()
            [name] = self.world.random.choices(names, weights)
            if getattr(self, f"_{name}")():
                self.happened[name] += 1

    async def finish_calmly(self) -> None:
        """No more faults: the processes that are left do the work, write everything and stop."""
        world = self.world
        for process in world.processes:
            process.frozen = False
        world.calm = True
        for question in list(world.questions):
            world.answer(question)
        await world.settle()
        if not world.processes:
            world.start()
        world.rebalance()
        for _ in range(CALM_STEPS):
            await world.settle()
            if world.logs.keys() - {
                p for process in world.processes for p in process.mine
            }:  # one was fenced and exited
                if not world.processes:
                    world.start()
                world.rebalance()
            for process in list(world.processes):
                for partition in sorted(process.mine):
                    process.deliver(partition, 50)
                process.run(process.owner.tick())
            world.now_s += 1.0
            if self._is_done():
                break
        for process in list(world.processes):
            process.run(process.owner.stop())
            await world.settle()

    def _is_done(self) -> bool:
        owned = {p: o for process in self.world.processes for p, o in process.owner.owned.items() if p in process.mine}
        return all(
            not log.records or (p in owned and owned[p].fold.done >= log.records[-1].offset + 1)
            for p, log in self.world.logs.items()
        )

    def _awake(self) -> list[Process]:
        return [process for process in self.world.processes if not process.frozen]

    def _pick(self) -> Process | None:
        awake = self._awake()
        return self.world.random.choice(awake) if awake else None

    def _open_questions(self) -> list[Question]:
        return [question for question in self.world.questions if not question.process.frozen]

    def _answer(self) -> bool:
        questions = self._open_questions()
        if questions:
            self.world.answer(self.world.random.choice(questions))
        return bool(questions)

    def _fail(self) -> bool:
        questions = [q for q in self._open_questions() if q.what in ("begin", "send", "committed", "open", "read")]
        if questions:
            question = self.world.random.choice(questions)
            self.world.answer(question, WriteFailed(f"no answer to {question.what}"))
        return bool(questions)

    def _deliver_some(self, count: int, skip: int = 0, back: int = 0) -> bool:
        process = self._pick()
        if process is None or not process.mine:
            return False
        partition = self.world.random.choice(sorted(process.mine))
        if back:
            process.positions[partition] = max(process.positions.get(partition, 0) - back, 0)
        process.deliver(partition, count, skip)
        return True

    def _deliver(self) -> bool:
        return self._deliver_some(self.world.random.randint(1, 60))

    def _skip(self) -> bool:
        return self._deliver_some(self.world.random.randint(1, 20), skip=self.world.random.randint(1, 5))

    def _repeat(self) -> bool:
        return self._deliver_some(self.world.random.randint(1, 60), back=self.world.random.randint(1, 40))

    def _tick(self) -> bool:
        self.world.now_s += self.world.random.uniform(0.1, 1.5)
        process = self._pick()
        if process is not None:
            process.run(process.owner.tick())
        return process is not None

    def _start(self) -> bool:
        if len(self.world.processes) >= MAX_PROCESSES:
            return False
        self.world.start()
        self.world.rebalance()
        return True

    def _kill(self) -> bool:
        if not self.world.processes:
            return False
        self.world.kill(self.world.random.choice(self.world.processes))
        self.world.rebalance()
        return True

    def _freeze(self) -> bool:
        process = self._pick()
        if process is None:
            return False
        process.frozen = True
        self.world.rebalance()
        return True

    def _thaw(self) -> bool:
        frozen = [process for process in self.world.processes if process.frozen]
        if not frozen:
            return False
        self.world.random.choice(frozen).frozen = False  # it still knows its old generation only
        return True

    def _rebalance(self) -> bool:
        self.world.rebalance()
        return True
