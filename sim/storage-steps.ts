/** What can happen in the world of the storage, as plain data: see play.ts for the rules. */
import type { CrashMode } from "../src/env/sim/index.ts";

/** A put of `size` bytes, or a delete when it is negative. */
export interface OpDraft {
  readonly tree: number;
  readonly key: number;
  readonly size: number;
}

export interface EntryDraft {
  /** True: an entry of a new leader, which does nothing. */
  readonly isEmpty: boolean;
  readonly ops: readonly OpDraft[];
}

/** What one group appends. It is made to fit the state in which it is handed in. */
export interface AppendPart {
  readonly group: number;
  readonly entries: readonly EntryDraft[];
  /** So many entries are replaced, as far as they are not committed. */
  readonly replaces: number;
  /** The term grows by so much. */
  readonly terms: number;
  /** With a new term: who gets the vote. */
  readonly vote: number;
  /** Everything but the last so many entries is committed; null commits nothing more. */
  readonly commitLag: number | null;
  /** The HardState is written even when it is the same. */
  readonly withHardState: boolean;
}

/** Files by what they are for. */
export type FileClass = "log" | "votes" | "manifest" | "data" | "other";

/** How a directory that was closed is damaged. Each is tried on a copy. */
export type DamageKind =
  | "bit"
  | "sector"
  | "stale"
  | "misdirected"
  | "misplaced"
  | "missing"
  | "doubled"
  | "swapped"
  | "foreign";

export type StorageStep =
  /** `seed`: what the kill of an opening that was refused leaves. */
  | { readonly do: "open"; readonly seed: number }
  | {
      readonly do: "append";
      readonly parts: readonly AppendPart[];
      readonly reserve: boolean;
      /** Time passes until at most so many appends are under way. */
      readonly window: number;
    }
  | {
      readonly do: "vote";
      readonly group: number;
      readonly terms: number;
      readonly vote: number;
    }
  | { readonly do: "checkpoint"; readonly group: number }
  | { readonly do: "pin"; readonly group: number }
  | { readonly do: "unpin" }
  | { readonly do: "pass"; readonly ms: number }
  /** Until everything is acknowledged and every checkpoint over. */
  | { readonly do: "settle" }
  /** The process will end at the `after`th operation from now on of this kind and class of files. */
  | {
      readonly do: "halt";
      readonly after: number;
      readonly moment: "before" | "after";
      readonly file: FileClass | null;
    }
  /** A power loss leaves what `mode` and `seed` say; without a mode only the process ends. */
  | { readonly do: "crash"; readonly mode: CrashMode | null; readonly seed: number }
  | { readonly do: "close" }
  /** A copy loses its power with everything that was not synced: what was acknowledged is there. */
  | { readonly do: "prove" }
  /** A write or sync to the log, the votes or the data of a group fails, after `skip` others. */
  | {
      readonly do: "fail-write";
      readonly operation: "write" | "sync";
      readonly target: "log" | "votes" | number;
      readonly skip: number;
    }
  /** The next operation of this kind, after `skip` others, is refused. */
  | {
      readonly do: "refuse";
      readonly operation: "open" | "read" | "rename" | "write" | "unlink";
      readonly error: "EMFILE" | "EACCES" | "EROFS" | "EIO";
      readonly skip: number;
    }
  /** Writes and syncs of these files take longer, or for ever (`ms` null). */
  | {
      readonly do: "slow";
      readonly file: FileClass;
      readonly skip: number;
      readonly times: number;
      readonly ms: number | null;
    }
  /** So many pages fit onto the disk. */
  | { readonly do: "full"; readonly pages: number }
  | { readonly do: "room" }
  /** What the device holds now is what a lost write would bring back. */
  | { readonly do: "remember" }
  | {
      readonly do: "damage";
      readonly kind: DamageKind;
      /** Which file of its kind, and where: made to fit by remainders. */
      readonly file: number;
      readonly offset: number;
      readonly seed: number;
    };

/** A segment keeps the name under which it was opened: the one that it was made under, most of the time. */
export function fileClassOf(path: string): FileClass {
  if (path.endsWith(".wal")) return "log";
  if (path.includes("/db/")) return "data";
  if (path.includes("VOTE")) return "votes";
  if (path.includes("MANIFEST")) return "manifest";
  return "other";
}

/** The same step with less in it. */
export function simplerStorageSteps(step: StorageStep): StorageStep[] {
  switch (step.do) {
    case "append": {
      const out: StorageStep[] = [];
      if (step.parts.length > 1)
        for (const part of step.parts) out.push({ ...step, parts: [part] });
      for (const [i, part] of step.parts.entries()) {
        const instead = (other: AppendPart): StorageStep => ({
          ...step,
          parts: step.parts.with(i, other),
        });
        if (part.entries.length > 1)
          out.push(instead({ ...part, entries: part.entries.slice(0, 1) }));
        for (const [j, entry] of part.entries.entries()) {
          const [first, second] = entry.ops;
          if (first === undefined) continue;
          const simpler =
            second === undefined
              ? { ...entry, ops: first.size > 8 ? [{ ...first, size: 8 }] : [] }
              : { ...entry, ops: [first] };
          out.push(instead({ ...part, entries: part.entries.with(j, simpler) }));
        }
        if (part.replaces > 0) out.push(instead({ ...part, replaces: 0 }));
        if (part.terms > 0) out.push(instead({ ...part, terms: 0 }));
      }
      if (step.window > 0) out.push({ ...step, window: 0 });
      return out;
    }
    case "crash":
      return step.mode === null || step.mode === "lose-all"
        ? []
        : [
            { ...step, mode: null },
            { ...step, mode: "lose-all" },
            { ...step, mode: "keep-all" },
          ];
    case "pass":
      return step.ms > 10 ? [{ ...step, ms: 10 }] : [];
    case "open":
    case "vote":
    case "checkpoint":
    case "pin":
    case "unpin":
    case "settle":
    case "halt":
    case "close":
    case "prove":
    case "fail-write":
    case "refuse":
    case "slow":
    case "full":
    case "room":
    case "remember":
    case "damage":
      return [];
  }
}
