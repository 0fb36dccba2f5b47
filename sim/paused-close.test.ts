/** A close in a process that a kernel stops meanwhile, and one on a disk that is silent (fault-rules K3, D34). */
import { describe, expect, it } from "vitest";
import { HarmonyError } from "../src/base/index.ts";
import { type Node, openNode } from "../src/db/index.ts";
import { runIo } from "../src/env/index.ts";
import { SimEnv } from "../src/env/sim/index.ts";
import { Pausable, shapedEnv } from "./cluster-env.ts";

class Process {
  readonly machine = new SimEnv({ seed: 1 });
  readonly body = new Pausable();
  #node!: Node;

  open(): this {
    const env = shapedEnv(this.machine.boot(), this.body, 1000);
    let isOver = false;
    runIo(openNode(env, { dataDir: "data", walSegmentBytes: 64 * 1024 }), (error, node) => {
      if (error !== null) throw error as Error;
      this.#node = node as Node;
      isOver = true;
    });
    while (!isOver) this.machine.scheduler.step();
    return this;
  }

  /** What becomes of a close that is begun now: "closed" or a code, and null for as long as it lasts. */
  close(): () => string | null {
    let outcome: string | null = null;
    runIo(this.#node.close(), (error) => {
      outcome = error === null ? "closed" : (error as HarmonyError).code;
    });
    return () => outcome;
  }

  pass(ms: number): void {
    this.machine.scheduler.runUntil(this.machine.scheduler.nowMs + ms);
  }
}

describe("a close", () => {
  it("goes on where it was when its process was stopped for a minute, again and again", () => {
    for (let stops = 1; stops <= 3; stops++) {
      const process = new Process().open();
      const times = Number.POSITIVE_INFINITY;
      process.machine.disk.inject({ operation: ["write", "sync"], times, delayMs: 10 });
      const outcome = process.close();
      for (let i = 0; i < stops; i++) {
        process.pass(1);
        process.body.pause();
        process.pass(60_000);
        expect(outcome()).toBe(null);
        process.body.resume();
      }
      process.pass(1_000);
      expect(outcome()).toBe("closed");
    }
  });

  it("says after half a minute that the disk does not answer", () => {
    const process = new Process().open();
    const times = Number.POSITIVE_INFINITY;
    process.machine.disk.inject({ operation: ["write", "sync"], times, delayMs: times });
    const outcome = process.close();
    process.pass(29_000);
    expect(outcome()).toBe(null);
    process.pass(1_100);
    expect(outcome()).toBe("TIMEOUT");
  });
});
