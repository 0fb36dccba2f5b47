/** File operations as data, so that a crash or a fork can look at what was under way. */
import type { OpenOptions } from "../files.ts";
import type { OperationKind, Rule } from "./faults.ts";

/** One operation on the disk. `node` is the file that it was opened as, `upTo` the newest change that it covers. */
export type Operation =
  | { readonly kind: "open"; readonly path: string; readonly options: OpenOptions }
  | { readonly kind: "size" | "close"; readonly path: string; readonly node: number }
  | { readonly kind: "sync"; readonly path: string; readonly node: number; readonly upTo: number }
  | {
      readonly kind: "read";
      readonly path: string;
      readonly node: number;
      readonly offset: number;
      readonly into: Uint8Array;
    }
  | {
      readonly kind: "write";
      readonly path: string;
      readonly node: number;
      readonly offset: number;
      readonly bytes: Uint8Array;
      readonly durable: boolean;
    }
  | {
      readonly kind: "truncate";
      readonly path: string;
      readonly node: number;
      readonly sizeBytes: number;
    }
  | { readonly kind: "rename"; readonly path: string; readonly to: string }
  | { readonly kind: "unlink" | "list" | "mkdir" | "lock" | "release"; readonly path: string }
  | { readonly kind: "syncDir"; readonly path: string; readonly upTo: number };

export type OperationResult = number | readonly string[] | undefined;

/** An operation that was asked for and not performed yet. */
export interface InFlight {
  readonly operation: Operation;
  readonly rule: Rule | undefined;
  /** Of the bytes of a write, to see that the caller leaves them alone. */
  readonly crc: number;
  /** Once it is performed. */
  result: OperationResult;
}

/** Whether a crash can find more or less of it: opening counts, because it may create. */
export function isChange(operation: Operation): boolean {
  const kind: OperationKind = operation.kind;
  return (
    kind === "write" ||
    kind === "truncate" ||
    kind === "rename" ||
    kind === "unlink" ||
    kind === "mkdir" ||
    (operation.kind === "open" && (operation.options.create ?? "no") !== "no")
  );
}
