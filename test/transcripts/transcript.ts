/** A recorded file: its steps as data. See README.md for what the fields mean. */
import { readFileSync } from "node:fs";

export type View =
  | string
  | number
  | boolean
  | null
  | readonly View[]
  | { readonly [field: string]: View };

export interface RecordedStatus {
  readonly code: number;
  readonly message: string;
  readonly anyMessage?: boolean;
}

interface StepBase {
  readonly step: number;
  readonly note: string;
  readonly method: string;
  readonly metadata?: Readonly<Record<string, string>>;
  readonly delayBeforeMs?: number;
}

export interface UnaryStep extends StepBase {
  readonly stream?: never;
  readonly request: View;
  readonly requestBytes: string | null;
  readonly response: View;
  readonly responseBytes: string | null;
  readonly error: RecordedStatus | null;
}

export interface StreamStep extends StepBase {
  readonly stream: string;
  readonly open?: boolean;
  readonly halfClose?: boolean;
  readonly send: readonly { readonly request: View; readonly requestBytes: string }[];
  readonly receive: readonly { readonly response: View }[];
  readonly end: RecordedStatus | null;
}

export type Step = UnaryStep | StreamStep;

export const RECORDED_FILES: readonly string[] = [
  "kv-revisions",
  "kv-range",
  "kv-put",
  "kv-delete",
  "kv-txn",
  "kv-compact",
  "lease",
  "watch",
  "limits",
];

export function readTranscript(file: string): readonly Step[] {
  const text = readFileSync(new URL(`etcd/${file}.jsonl`, import.meta.url), "utf8");
  return text
    .split("\n")
    .filter((line) => line !== "")
    .map((line) => JSON.parse(line) as Step);
}
