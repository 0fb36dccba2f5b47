/** The commands of the golden scripts in testdata: they drive a `Lab` and print what it did. */
import { HarmonyError } from "../../base/index.ts";
import type { InjectedFault } from "../../env/sim/index.ts";
import type { Proposal } from "../index.ts";
import { Lab } from "./lab.ts";
import type { Command } from "./script.ts";

/** A segment keeps the path that it was opened with, and it was prepared under tmp/. */
const isLog = (path: string): boolean =>
  path.startsWith("data/wal/") || path.startsWith("data/tmp/");
const isVote = (path: string): boolean => path === "data/VOTE";

export class Transcript {
  #lab: Lab = new Lab();
  #hold: InjectedFault | null = null;
  readonly #proposals: Map<string, Proposal<string>> = new Map();

  run(command: Command): string {
    const lab = this.#lab;
    switch (command.name) {
      // host [groups=0,7] [uncommitted=100]: a new directory, its log, and groups that have not campaigned yet
      case "host": {
        const groups = numbers(command, "groups");
        const uncommitted = number(command, "uncommitted", 1024 * 1024);
        this.#lab = new Lab({
          groups: groups.length === 0 ? [0] : groups,
          maxUncommittedBytes: uncommitted,
        });
        this.#lab.open();
        return "";
      }
      // lead: every group campaigns and leads; prints nothing
      case "lead":
        lab.campaign();
        lab.pass();
        lab.trace.length = 0;
        return "";
      // campaign: every group campaigns
      case "campaign":
        lab.campaign();
        lab.pass();
        return lab.takeTrace();
      // propose a b c [group=7] [reserve=yes]: in one turn
      case "propose": {
        const reserve = command.options.get("reserve") === "yes";
        for (const word of command.words)
          this.#proposals.set(word, lab.propose(number(command, "group", 0), word, reserve));
        return lab.takeTrace();
      }
      // cancel a: its caller gives up
      case "cancel": {
        const word = command.words[0] as string;
        const isCertain = this.#proposals.get(word)?.cancel() === true;
        return isCertain ? "never proposed" : "may be applied";
      }
      // read r1 [group=7]
      case "read":
        for (const name of command.words) lab.read(number(command, "group", 0), name);
        return lab.takeTrace();
      // hold [votes]: writes to the log (to VOTE) do not come back
      case "hold":
        this.#hold = lab.machine.disk.inject({
          operation: "write",
          path: command.words[0] === "votes" ? isVote : isLog,
          delayMs: Number.POSITIVE_INFINITY,
          times: Number.POSITIVE_INFINITY,
        });
        return "";
      // go: they do
      case "go":
        this.#hold?.remove();
        lab.pass();
        return lab.takeTrace();
      // fail [votes] [after=10]: the next write to the log (to VOTE) fails, after so many milliseconds
      case "fail":
        lab.machine.disk.inject({
          operation: "write",
          path: command.words[0] === "votes" ? isVote : isLog,
          error: "EIO",
          delayMs: number(command, "after", 0),
        });
        return "";
      // space full|ok: what the log says of the disk
      case "space":
        lab.space = command.words[0] as "full" | "ok";
        return "";
      // pass [ms=20]: time
      case "pass":
        lab.pass(number(command, "ms", 20));
        return lab.takeTrace();
      // stop: the host is told to end
      case "stop":
        lab.host.stop(new HarmonyError("CLOSED"));
        return lab.takeTrace();
      // kill, power: the process ends, or the machine; and starts again on the same directory
      case "kill":
        lab.kill();
        lab.open();
        return lab.takeTrace();
      case "power":
        lab.losePower();
        lab.open();
        return lab.takeTrace();
      // frames: how many the log has written
      case "frames":
        return `${lab.wal.stats.framesWritten}`;
      default:
        throw new Error(`unknown command ${command.name}`);
    }
  }
}

function number({ options }: Command, name: string, otherwise: number): number {
  const value = options.get(name);
  return value === undefined ? otherwise : Number(value);
}

function numbers({ options }: Command, name: string): number[] {
  return (options.get(name) ?? "").split(",").filter(Boolean).map(Number);
}
