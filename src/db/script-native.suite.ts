/**
 * The own commands of HarmonyDB in scripts (script.suite.ts):
 *
 *     set KEY VALUE [EXPIRY] [lease=N] [prev] [absent | present | ifrev=N | ifvalue=V | ifnot=V]
 *     incr KEY N [EXPIRY] [min=N] [max=N] [saturate] [window]     append KEY VALUE     setrange KEY OFFSET VALUE
 *     mset { KEY VALUE; ... } [EXPIRY] [lease=N] [absent | present]     mdel KEY KEY ...
 *     expirekey KEY EXPIRY [prev] [CONDITION] [noDeadline | hasDeadline | later | earlier]     persist KEY
 *     lock KEY TOKEN TTL    unlock KEY TOKEN [fence=N]    extend KEY TOKEN TTL [fence=N]
 *     session N    endsession N    once SESSION/NUMBER COMMAND    configure [retention_ms=N] [revisions=N] [quota=N]
 *
 * EXPIRY is ttl=MS, at=MS on the group's clock, keep, or nothing for none; incr keeps unless it says otherwise.
 */
import { printable } from "../mvcc/index.ts";
import type {
  Condition,
  ExpireWhen,
  Expiry,
  KeyValue,
  NativeRequest,
  NativeResponse,
} from "./requests.ts";

/** What a script's line is read with. */
export interface LineReader {
  readonly isAtEnd: boolean;
  peek(): string;
  next(): string;
  take(word: string): boolean;
  expect(word: string): void;
  number(): number;
  bigint(): bigint;
}

interface Options {
  expiry: Expiry | null;
  condition: Condition | null;
  lease: bigint;
  numbers: Record<string, string>;
  flags: Set<string>;
}

function parseOptions(words: LineReader, bytesOf: (word: string) => Uint8Array): Options {
  const options: Options = {
    expiry: null,
    condition: null,
    lease: 0n,
    numbers: {},
    flags: new Set(),
  };
  while (!words.isAtEnd && ![";", "}"].includes(words.peek())) {
    const [name, value = ""] = words.next().split("=") as [string, string | undefined];
    if (name === "ttl") options.expiry = { kind: "after", ttlMs: Number(value) };
    else if (name === "at") options.expiry = { kind: "at", atMs: Number(value) };
    else if (name === "keep" || name === "none") options.expiry = { kind: name };
    else if (name === "absent" || name === "present") options.condition = { kind: name };
    else if (name === "ifrev") options.condition = { kind: "revision", revision: Number(value) };
    else if (name === "ifvalue") options.condition = { kind: "value", value: bytesOf(value) };
    else if (name === "ifnot") options.condition = { kind: "notValue", value: bytesOf(value) };
    else if (name === "lease") options.lease = BigInt(value);
    else if (value !== "") options.numbers[name] = value;
    else options.flags.add(name);
  }
  return options;
}

/** The request that begins at the next word, or null when that is none of ours. */
export function parseNative(
  words: LineReader,
  bytesOf: (word: string) => Uint8Array,
): NativeRequest | null {
  const next = (): Uint8Array => bytesOf(words.next());
  const options = (): Options => parseOptions(words, bytesOf);
  const none: Expiry = { kind: "none" };
  const word = words.peek();
  const isOurs = NAMES.has(word);
  if (!isOurs) return null;
  words.next();
  switch (word) {
    case "set": {
      const [key, value] = [next(), next()];
      const { expiry, condition, lease, flags } = options();
      const prevKv = flags.has("prev");
      return { kind: "set", key, value, condition, lease, expiry: expiry ?? none, prevKv };
    }
    case "incr": {
      const [key, by] = [next(), words.bigint()];
      const { expiry, numbers, flags } = options();
      const bound = (name: string): bigint | null =>
        numbers[name] === undefined ? null : BigInt(numbers[name]);
      return {
        kind: "incr",
        key,
        by,
        min: bound("min"),
        max: bound("max"),
        saturate: flags.has("saturate"),
        expiry: expiry ?? { kind: "keep" },
        expiryIfNone: flags.has("window"),
      };
    }
    case "append":
      return { kind: "append", key: next(), value: next() };
    case "setrange":
      return { kind: "setRange", key: next(), offset: words.number(), value: next() };
    case "mset": {
      const items: { key: Uint8Array; value: Uint8Array }[] = [];
      words.expect("{");
      while (!words.take("}")) {
        items.push({ key: next(), value: next() });
        if (words.peek() !== "}") words.expect(";");
      }
      const { expiry, condition, lease } = options();
      const kind = condition?.kind === "absent" || condition?.kind === "present";
      return {
        kind: "mset",
        items,
        condition: kind ? (condition.kind as "absent" | "present") : "none",
        lease,
        expiry: expiry ?? none,
      };
    }
    case "mdel": {
      const keys: Uint8Array[] = [];
      while (!words.isAtEnd) keys.push(next());
      return { kind: "mdel", keys };
    }
    case "expirekey":
    case "persist": {
      const key = next();
      const { expiry, condition, flags } = options();
      const wanted = ["noDeadline", "hasDeadline", "later", "earlier"] as const;
      const when: ExpireWhen = wanted.find((name) => flags.has(name)) ?? "always";
      const moment = (expiry ?? none) as Exclude<Expiry, { readonly kind: "keep" }>;
      const prevKv = flags.has("prev");
      return { kind: "expireKey", key, expiry: moment, when, condition, prevKv };
    }
    case "lock":
      return { kind: "lock", key: next(), token: next(), ttlMs: words.number() };
    case "unlock": {
      const [key, token] = [next(), next()];
      return { kind: "unlock", key, token, fence: Number(options().numbers["fence"] ?? 0) };
    }
    case "extend": {
      const [key, token, ttlMs] = [next(), next(), words.number()];
      const fence = Number(options().numbers["fence"] ?? 0);
      return { kind: "extendLock", key, token, fence, ttlMs };
    }
    case "session":
      return { kind: "sessionOpen", session: words.number() };
    case "endsession":
      return { kind: "sessionClose", session: words.number() };
    default: {
      const { numbers } = options();
      const number = (name: string): number | undefined =>
        numbers[name] === undefined ? undefined : Number(numbers[name]);
      return {
        kind: "configure",
        retentionMs: number("retention_ms"),
        retentionRevisions: number("revisions"),
        quotaBytes: number("quota"),
      };
    }
  }
}

const NAMES: ReadonlySet<string> = new Set([
  "set",
  "incr",
  "append",
  "setrange",
  "mset",
  "mdel",
  "expirekey",
  "persist",
  "lock",
  "unlock",
  "extend",
  "session",
  "endsession",
  "configure",
]);

export function showNative(
  outcome: NativeResponse,
  showKeyValue: (kv: KeyValue) => string,
): string[] {
  const at = `at ${outcome.revision}`;
  const was = (kv: KeyValue | null): string => (kv === null ? "" : `, was ${showKeyValue(kv)}`);
  switch (outcome.kind) {
    case "set":
      return [`${outcome.succeeded ? "set" : "not set"} ${at}${was(outcome.prevKv)}`];
    case "incr":
      return [
        `${outcome.value} ${at}${outcome.deadlineMs === 0 ? "" : ` until ${outcome.deadlineMs}`}`,
      ];
    case "append":
    case "setRange":
      return [`${outcome.length} bytes ${at}`];
    case "mset":
      return [`${outcome.succeeded ? "set all" : "set none"} ${at}`];
    case "mdel":
      return [`deleted ${outcome.deleted} ${at}`];
    case "expireKey":
      return [`${outcome.succeeded ? "ok" : "nothing to do"} ${at}${was(outcome.prevKv)}`];
    case "lock": {
      const { acquired, token, fence, deadlineMs, leftMs } = outcome;
      return [
        `${acquired ? "acquired" : "held"} by ${printable(token)} fence ${fence} until ${deadlineMs} for ${leftMs} ${at}`,
      ];
    }
    case "unlock":
      return [`${outcome.released ? "released" : "not held"} ${at}`];
    case "extendLock":
      return [
        outcome.extended
          ? `extended fence ${outcome.fence} until ${outcome.deadlineMs} ${at}`
          : `not held ${at}`,
      ];
    case "sessionOpen":
      return [`session ${outcome.session} ${at}`];
    case "sessionClose":
      return [`${outcome.closed ? "closed" : "unknown"} ${at}`];
    case "configure":
      return [
        `retention ${outcome.retentionMs} ms, ${outcome.retentionRevisions} revisions, quota ${outcome.quotaBytes} ${at}`,
      ];
    case "done":
      return [`done ${at}`];
  }
}
