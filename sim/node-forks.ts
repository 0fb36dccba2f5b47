/** What is tried on a copy of the machine while the original goes on. */
import { CorruptionError, HarmonyError } from "../src/base/index.ts";
import type { NodeOptions } from "../src/db/index.ts";
import type { SimEnv } from "../src/env/sim/index.ts";
import type { Marks } from "./marks.ts";
import { observe, open, tryToOpen } from "./node-driver.ts";
import { DATA_DIRECTORY } from "./node-options.ts";
import type { NodeStep } from "./node-steps.ts";
import { NODE_MARKS } from "./node-watch.ts";
import type { Oracle } from "./oracle.ts";
import { check, show, Violation } from "./violation.ts";

/** At this moment, with nothing but what is durable, the node must know everything that was acknowledged. */
export function proveDurable(machine: SimEnv, options: NodeOptions, oracle: Oracle): void {
  const fork = machine.fork();
  fork.losePower("lose-all");
  fork.disk.quotaBytes = Number.POSITIVE_INFINITY;
  const judge = oracle.copy(() => fork.scheduler.nowMs);
  const began = { beganAtMs: fork.scheduler.nowMs, wallBeganMs: fork.wallMs };
  const node = open(fork, options);
  try {
    judge.started({ ...began, nowMs: fork.scheduler.nowMs, wallMs: fork.wallMs, isOpen: true });
    judge.reopened(observe(node.database));
  } catch (error) {
    if (error instanceof Violation)
      throw new Violation("an acknowledgement does not precede its sync", error.message);
    throw error;
  }
}

/** A bit changes in a stopped directory: refused, or without effect on what was acknowledged. */
export function rot(
  machine: SimEnv,
  options: NodeOptions,
  oracle: Oracle,
  { file, place, bit }: Extract<NodeStep, { readonly do: "rot" }>,
  marks: Marks,
): void {
  const files = machine.disk
    .paths()
    .filter((path) => /\.(?:wal|hdb)$|\/(?:VOTE|MANIFEST)$/.test(path));
  const path = files[file % Math.max(1, files.length)];
  if (path === undefined) return;
  const fork = machine.fork();
  const size = fork.disk.contents(path).length;
  if (size === 0) return;
  const offset = place % size;
  fork.disk.flipBit(path, offset, bit);
  const judge = oracle.copy(() => fork.scheduler.nowMs);
  const began = { beganAtMs: fork.scheduler.nowMs, wallBeganMs: fork.wallMs };
  try {
    const node = tryToOpen(fork, options);
    judge.started({ ...began, nowMs: fork.scheduler.nowMs, wallMs: fork.wallMs, isOpen: true });
    if (node instanceof Error) {
      marks.hit(NODE_MARKS.rotRefused);
      check(node instanceof HarmonyError, "damage is refused by name", () => `${node.stack}`);
      if (node instanceof CorruptionError)
        check(
          node.damage.file.startsWith(DATA_DIRECTORY) || node.damage.file === "VOTE",
          "a refusal names file and offset",
          () => show(node.damage),
        );
    } else if (node !== null) judge.reopened(observe(node.database));
  } catch (error) {
    if (error instanceof Violation)
      throw new Violation(
        "damage is refused or harmless",
        `${path} at ${offset}: ${error.message}`,
      );
    // A page that is only read later is refused then.
    if (!(error instanceof CorruptionError)) throw error;
  }
}
