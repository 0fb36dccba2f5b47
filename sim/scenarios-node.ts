/** Short runs of a whole node, compared with the oracle of its commands. */
import { hash32 } from "../src/base/index.ts";
import type { Node, NodeOptions, WriteRequest } from "../src/db/index.ts";
import { SimEnv } from "../src/env/sim/index.ts";
import { keyBytes } from "./model.ts";
import { close, drive, observe, open } from "./node-driver.ts";
import { DATA_DIRECTORY } from "./node-options.ts";
import { Oracle } from "./oracle.ts";
import type { Scenario } from "./scenario.ts";
import { check } from "./violation.ts";
import { Workload } from "./workload.ts";

interface NodeScenario {
  readonly name: string;
  readonly prepare: (stage: NodeStage) => void;
  readonly run: (stage: NodeStage) => void;
}

const NO_END = new Uint8Array(0);

const SCENARIOS: readonly NodeScenario[] = [
  {
    name: "the first start of a directory",
    prepare: () => {},
    run: (stage) => stage.open(),
  },
  {
    name: "twenty puts over two rolls of the log",
    prepare: (stage) => stage.open(),
    run: (stage) => {
      for (let i = 0; i < 20; i++) stage.write(put(`key${i % 7}`, `value ${i} ${"x".repeat(300)}`));
    },
  },
  {
    name: "commands that wait for each other's sync",
    prepare: (stage) => stage.open(),
    run: (stage) => {
      for (let turn = 0; turn < 3; turn++) {
        for (let i = 0; i < 6; i++) stage.issue(put(`key${i}`, `${turn} ${"y".repeat(100 * i)}`));
        stage.settle();
      }
    },
  },
  {
    name: "transactions, a checkpoint, and what it releases",
    prepare: (stage) => {
      stage.open();
      stage.some(12);
      stage.checkpoint();
      stage.some(12);
    },
    run: (stage) => {
      stage.write(both("a", "1"));
      stage.checkpoint();
      stage.write(both("b", "2"));
      stage.checkpoint();
      stage.write(both("c", "3"));
    },
  },
  {
    name: "recovery of an unclean stop",
    prepare: (stage) => {
      stage.open();
      stage.some(15);
      stage.checkpoint();
      stage.some(8);
      stage.kill();
    },
    run: (stage) => {
      stage.open();
      stage.write(put("after", "recovery"));
    },
  },
  {
    name: "recovery of a torn tail",
    prepare: (stage) => {
      stage.open();
      stage.some(10);
      stage.tear();
    },
    run: (stage) => {
      stage.open();
      stage.write(put("after", "the tear"));
    },
  },
  {
    name: "a recovery that is lost together with the power, twice",
    prepare: (stage) => {
      stage.open();
      stage.some(6);
      stage.kill();
      stage.open();
      stage.kill();
    },
    run: (stage) => {
      stage.open();
      stage.write(put("after", "two kills"));
      stage.write(put("after", "three"));
    },
  },
  {
    name: "a clean close",
    prepare: (stage) => {
      stage.open();
      stage.some(8);
      stage.checkpoint();
      stage.some(3);
    },
    run: (stage) => stage.close(),
  },
  {
    name: "a start after a clean close",
    prepare: (stage) => {
      stage.open();
      stage.some(8);
      stage.close();
    },
    run: (stage) => {
      stage.open();
      stage.write(put("next", "life"));
    },
  },
  {
    name: "large values and keys through a checkpoint",
    prepare: (stage) => {
      stage.open();
      stage.write(put(`long${"k".repeat(2000)}`, "z".repeat(9000)));
    },
    run: (stage) => {
      stage.write(put(`long${"k".repeat(2000)}`, "w".repeat(12_000)));
      stage.checkpoint();
      stage.write({
        kind: "deleteRange",
        key: keyBytes(`long${"k".repeat(2000)}`),
        rangeEnd: NO_END,
        prevKv: false,
      });
    },
  },
];

export const NODE_SCENARIOS: readonly Scenario[] = SCENARIOS.map(({ name, prepare, run }) => ({
  name,
  begin: (seed) => {
    const stage = new NodeStage(seed);
    return {
      machine: stage.machine,
      prepare: () => prepare(stage),
      acts: [() => run(stage)],
      judge: (crashed) => {
        const oracle = stage.oracle.copy(() => crashed.scheduler.nowMs);
        oracle.reopened(observe(open(crashed, stage.options).database));
      },
    };
  },
}));

/** A machine with a node and an oracle, driven step by step. */
class NodeStage {
  readonly machine: SimEnv;
  readonly oracle: Oracle;
  readonly options: NodeOptions;
  readonly #workload: Workload;
  #node: Node | null = null;
  #waiting = 0;

  constructor(seed: number) {
    this.machine = new SimEnv({ seed });
    this.oracle = new Oracle(
      { leaseTtlSecondsMin: 2, keepsHistory: true, retentionRevisions: 0 },
      () => this.machine.scheduler.nowMs,
    );
    this.options = {
      dataDir: DATA_DIRECTORY,
      walSegmentBytes: 4096,
      retention: { retentionMs: 0, retentionRevisions: 1_000_000 },
      checkpoints: { walBytes: 1e9, intervalMs: 1e9, operations: 1e9 },
      quotaBytes: 0,
    };
    this.#workload = new Workload(hash32(seed, 1), {
      keys: 8,
      large: false,
      leases: false,
      compactions: true,
    });
  }

  open(): void {
    this.#node = open(this.machine, this.options);
    this.oracle.reopened(observe(this.#node.database));
  }

  /** Hands a command over and does not wait for the answer. */
  issue(request: WriteRequest): void {
    const issued = this.oracle.issue(request);
    this.#waiting++;
    (this.#node as Node).database.write(request, {}, (error, outcome) => {
      this.#waiting--;
      this.oracle.answered(issued, error, outcome);
    });
  }

  settle(): void {
    drive(this.machine, "the wait for an answer", () => this.#waiting === 0);
  }

  write(request: WriteRequest): void {
    this.issue(request);
    this.settle();
  }

  /** Random commands. */
  some(count: number): void {
    for (let i = 0; i < count; i++) this.write(this.#workload.write(this.oracle));
  }

  checkpoint(): void {
    let isOver = false;
    (this.#node as Node).checkpoint((error) => {
      check(error === null, "a checkpoint succeeds", () => String(error));
      isOver = true;
    });
    drive(this.machine, "a checkpoint", () => isOver);
  }

  close(): void {
    check(
      close(this.machine, this.#node as Node),
      "a close comes to its end",
      () => "the process ended",
    );
    this.machine.halt();
  }

  kill(): void {
    this.machine.kill();
    this.#waiting = 0;
  }

  /** The power fails while a large command is being written: some of its sectors are there. */
  tear(): void {
    this.issue(put("torn", "t".repeat(3000)));
    const { disk } = this.machine;
    const before = disk.opCount;
    drive(this.machine, "the way to the disk", () => disk.opCount > before || disk.changesInFlight);
    this.machine.losePower("sectors");
    this.#waiting = 0;
  }
}

function put(key: string, value: string): WriteRequest {
  return {
    kind: "put",
    key: keyBytes(key),
    value: keyBytes(value),
    lease: 0n,
    prevKv: false,
    ignoreValue: false,
    ignoreLease: false,
  };
}

/** Two keys that must always be equal, and a third that must not be there with them. */
function both(name: string, value: string): WriteRequest {
  return {
    kind: "txn",
    compare: [],
    success: [
      put(`left ${name}`, value) as WriteRequest & { kind: "put" },
      put(`right ${name}`, value) as WriteRequest & { kind: "put" },
      { kind: "deleteRange", key: keyBytes("gone"), rangeEnd: NO_END, prevKv: false },
    ],
    failure: [],
  };
}
