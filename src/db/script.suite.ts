/**
 * Scripts that read like a session, for the rules of the API. A script is blocks parted by blank lines: commands, a line
 * `---`, and what the machine answered. Lines that begin with # are comments and belong to the block that follows.
 *
 *     put KEY VALUE [lease=N] [prev] [ignore_value] [ignore_lease]     del RANGE [prev]
 *     get RANGE [rev=N] [limit=N] [sort=TARGET:ORDER] [keys] [count] [min_mod=N] [max_mod=N] [min_create=N] [max_create=N]
 *     txn if COMPARE, ... then { OP; ... } else { OP; ... }            COMPARE: RANGE.TARGET=N, also > < != and value
 *     compact N    slice N    grant ID TTL    revoke ID    keepalive ID    ttl ID    leases    expire [upto=N]
 *     later MS     leader     reopen          dump         batch { OP; ... }: several commands in one entry
 *
 * The own commands of HarmonyDB are those of script-native.suite.ts. A RANGE is `a` (one key), `a..c`, `a..` (all from a on) or `..` (all). \xNN and \0 stand for bytes. The first command
 * may be `database history=off`.
 */
import { readFileSync } from "node:fs";
import { MemoryEngine } from "../btree/index.ts";
import { printable } from "../mvcc/index.ts";
import { encodeCommand, encodeExpire, encodeOnce, fingerprintOf } from "./command.ts";
import { HISTORY_ON, LIMITS } from "./machine.suite.ts";
import { bytes } from "./model.suite.ts";
import type {
  AnyWriteRequest,
  Compare,
  KeyRange,
  KeyValue,
  Outcome,
  RangeRequest,
  RequestOp,
  SortOrder,
  SortTarget,
  TxnRequest,
} from "./requests.ts";
import { parseNative, showNative } from "./script-native.suite.ts";
import { KvStateMachine } from "./state-machine.ts";
import { withoutRepeats } from "./validate-native.ts";
import { isReadOnlyTxn, validateRange, validateWrite } from "./validate.ts";

/** The script in `file` with the answers that the machine gives now. */
export function runScript(file: string): string {
  const session = new Session();
  const blocks = readFileSync(file, "utf8").trimEnd().split(/\n\n+/);
  const out = blocks.map((block) => {
    const input = (block.split(/^---$/m)[0] as string).trimEnd();
    const commands = input.split("\n").filter((line) => line !== "" && !line.startsWith("#"));
    return commands.length === 0
      ? input
      : [input, "---", ...commands.flatMap((line) => session.run(line))].join("\n");
  });
  return `${out.join("\n\n")}\n`;
}

class Session {
  #engine = new MemoryEngine();
  #machine: KvStateMachine | null = null;
  #index = 0;
  #term = 1;
  #clockMs = 1_000;

  get machine(): KvStateMachine {
    this.#machine ??= new KvStateMachine(this.#engine, null, HISTORY_ON);
    return this.#machine;
  }

  run(line: string): string[] {
    const words = new Words(line);
    const lines = this.#run(words);
    words.end();
    return lines;
  }

  #run(words: Words): string[] {
    switch (words.peek()) {
      case "database":
        words.next();
        words.expect("history=off");
        this.#machine = new KvStateMachine(this.#engine, null, {
          retentionMs: 0,
          retentionRevisions: 0,
        });
        return ["ok"];
      case "get": {
        const request = parseOp(words) as RangeRequest;
        const refused = validateRange(request);
        return refused === null ? show(this.machine.range(request)) : [`refused ${refused}`];
      }
      case "slice":
        words.next();
        return [this.machine.compactSlice(words.number()) ? "more" : "done"];
      case "ttl": {
        words.next();
        const { ttlSeconds, grantedTtlSeconds, keys } = this.machine.leaseStatus(
          words.bigint(),
          true,
          this.#clockMs,
        );
        return [
          `ttl ${ttlSeconds} of ${grantedTtlSeconds}${keys.map((key) => ` ${printable(key)}`).join("")}`,
        ];
      }
      case "leases":
        words.next();
        return [["leases", ...this.machine.leases()].join(" ")];
      case "later":
        words.next();
        this.#clockMs += words.number();
        return [`clock ${this.#clockMs}`];
      case "leader":
        words.next();
        this.#term++;
        this.machine.apply(
          { index: ++this.#index, term: this.#term, clockMs: this.machine.clockMs },
          [],
        );
        return [`term ${this.#term}`];
      case "reopen": {
        words.next();
        const { appliedIndex, appliedTerm } = this.machine;
        this.#machine = new KvStateMachine(
          this.#engine,
          { appliedIndex, appliedTerm, payload: this.machine.payload() },
          HISTORY_ON,
        );
        return ["ok"];
      }
      case "dump":
        words.next();
        return this.machine.describe();
      case "batch": {
        words.next();
        const commands = parseList(words, () => this.#encode(parseWrite(words)));
        return this.#apply(commands).flatMap(show);
      }
      case "expire": {
        words.next();
        const option = words.isAtEnd ? "" : words.next();
        const upToClockMs = option === "" ? this.#clockMs : Number(option.replace("upto=", ""));
        return this.#apply([encodeExpire({ upToClockMs, limit: 100 })]).flatMap(show);
      }
      case "once": {
        words.next();
        const [session, number] = words.next().split("/").map(Number) as [number, number];
        const request = parseWrite(words);
        const bytesOf = this.#encode(request);
        return this.#apply([
          encodeOnce({ session, number }, fingerprintOf(request), bytesOf),
        ]).flatMap(show);
      }
      default: {
        const request = parseWrite(words);
        const refused = validateWrite(request, LIMITS);
        if (refused !== null) return [`refused ${refused}`];
        if (request.kind === "txn" && isReadOnlyTxn(request))
          return show(this.machine.readTxn(request));
        return this.#apply([this.#encode(request)]).flatMap(show);
      }
    }
  }

  #encode(request: AnyWriteRequest): Uint8Array {
    const single = request.kind === "mset" ? withoutRepeats(request) : request;
    return encodeCommand(single, { leaseTtlSecondsMin: 2, lengthMax: LIMITS.maxRequestBytes });
  }

  #apply(commands: readonly Uint8Array[]): readonly Outcome[] {
    return this.machine.apply(
      { index: ++this.#index, term: this.#term, clockMs: this.#clockMs },
      commands,
    );
  }
}

function show(outcome: Outcome): string[] {
  switch (outcome.kind) {
    case "error":
      return [`error ${outcome.code} at ${outcome.revision}`];
    case "range":
      return [
        `range at ${outcome.revision}: count ${outcome.count}${outcome.more ? ", more" : ""}`,
        ...outcome.kvs.map((kv) => `  ${showKeyValue(kv)}`),
      ];
    case "put":
      return [
        `put at ${outcome.revision}${outcome.prevKv === null ? "" : `, was ${showKeyValue(outcome.prevKv)}`}`,
      ];
    case "deleteRange":
      return [
        `deleted ${outcome.deleted} at ${outcome.revision}`,
        ...outcome.prevKvs.map((kv) => `  was ${showKeyValue(kv)}`),
      ];
    case "txn":
      return [
        `txn ${outcome.succeeded ? "succeeded" : "failed"} at ${outcome.revision}`,
        ...outcome.responses.flatMap((response) => show(response).map((line) => `  ${line}`)),
      ];
    case "leaseGrant":
      return [`granted ${outcome.id} for ${outcome.ttlSeconds} at ${outcome.revision}`];
    case "leaseKeepAlive":
      return [`kept alive for ${outcome.ttlSeconds} at ${outcome.revision}`];
    case "compact":
      return [`compacted at ${outcome.revision}`];
    case "leaseRevoke":
    case "members":
      return [`ok at ${outcome.revision}`];
    case "set":
    case "incr":
    case "append":
    case "setRange":
    case "mset":
    case "mdel":
    case "expireKey":
    case "lock":
    case "unlock":
    case "extendLock":
    case "sessionOpen":
    case "sessionClose":
    case "configure":
    case "done":
      return showNative(outcome, showKeyValue);
  }
}

function showKeyValue(kv: KeyValue): string {
  const lease = kv.lease === 0n ? "" : ` lease=${kv.lease}`;
  const until = kv.deadlineMs === undefined ? "" : ` until=${kv.deadlineMs}`;
  return `${printable(kv.key)}=${printable(kv.value)} create=${kv.createRevision} mod=${kv.modRevision} version=${kv.version}${lease}${until}${kv.isLock === true ? " lock" : ""}`;
}

/** The words of a line. Braces, commas and semicolons are words of their own. */
class Words {
  readonly #words: readonly string[];
  #at = 0;

  constructor(line: string) {
    this.#words = line.match(/[{},;]|[^\s{},;]+/g) ?? [];
  }

  get isAtEnd(): boolean {
    return this.#at >= this.#words.length;
  }

  peek(): string {
    return this.#words[this.#at] ?? "";
  }

  next(): string {
    const word = this.#words[this.#at++];
    if (word === undefined) throw new Error(`the line ends too early: ${this.#words.join(" ")}`);
    return word;
  }

  /** Takes the word if it is the next one. */
  take(word: string): boolean {
    if (this.peek() !== word) return false;
    this.#at++;
    return true;
  }

  expect(word: string): void {
    if (!this.take(word))
      throw new Error(`expected ${word}, not ${this.peek()}: ${this.#words.join(" ")}`);
  }

  number(): number {
    return Number(this.next());
  }

  bigint(): bigint {
    return BigInt(this.next());
  }

  end(): void {
    if (!this.isAtEnd) throw new Error(`what does ${this.peek()} mean: ${this.#words.join(" ")}`);
  }
}

function parseBytes(word: string): Uint8Array {
  if (word === '""') return bytes("");
  const text = word.replaceAll("\\0", "\\x00");
  return bytes(
    text.replaceAll(/\\x([0-9a-f]{2})/g, (_all, byte: string) =>
      String.fromCharCode(Number.parseInt(byte, 16)),
    ),
  );
}

function parseRange(word: string): KeyRange {
  const [from, to] = word.split("..") as [string, string | undefined];
  if (to === undefined) return { key: parseBytes(from), rangeEnd: bytes("") };
  return {
    key: from === "" ? bytes("\0") : parseBytes(from),
    rangeEnd: to === "" ? bytes("\0") : parseBytes(to),
  };
}

function parseList<T>(words: Words, parse: () => T): T[] {
  const items: T[] = [];
  words.expect("{");
  while (!words.take("}")) {
    items.push(parse());
    if (words.peek() !== "}") words.expect(";");
  }
  return items;
}

function parseWrite(words: Words): AnyWriteRequest {
  const native = parseNative(words, parseBytes);
  if (native !== null) return native;
  switch (words.peek()) {
    case "compact":
      words.next();
      return { kind: "compact", revision: words.number(), physical: false };
    case "grant":
      words.next();
      return { kind: "leaseGrant", id: words.bigint(), ttlSeconds: words.bigint() };
    case "revoke":
      words.next();
      return { kind: "leaseRevoke", id: words.bigint() };
    case "keepalive":
      words.next();
      return { kind: "leaseKeepAlive", id: words.bigint() };
    default:
      return parseOp(words) as AnyWriteRequest;
  }
}

function isOption(words: Words): boolean {
  return !words.isAtEnd && ![";", "}"].includes(words.peek());
}

function parseOp(words: Words): RequestOp {
  const word = words.next();
  switch (word) {
    case "put": {
      const put = {
        kind: "put" as const,
        key: parseBytes(words.next()),
        value: bytes(""),
        lease: 0n,
        prevKv: false,
        ignoreValue: false,
        ignoreLease: false,
      };
      while (isOption(words)) {
        const option = words.next();
        if (option.startsWith("lease=")) put.lease = BigInt(option.slice(6));
        else if (option === "prev") put.prevKv = true;
        else if (option === "ignore_value") put.ignoreValue = true;
        else if (option === "ignore_lease") put.ignoreLease = true;
        else put.value = parseBytes(option);
      }
      return put;
    }
    case "del":
      return { kind: "deleteRange", ...parseRange(words.next()), prevKv: words.take("prev") };
    case "get":
      return parseGet(words);
    case "txn":
      return parseTxn(words);
    case "nothing":
      return { kind: "unset" };
    default:
      throw new Error(`no such command: ${word}`);
  }
}

function parseGet(words: Words): RangeRequest {
  const range = parseRange(words.next());
  const numbers: Record<string, number> = {};
  let [sortTarget, sortOrder]: [SortTarget, SortOrder] = ["key", "none"];
  let keysOnly = false;
  let countOnly = false;
  while (isOption(words)) {
    const [name, value] = words.next().split("=") as [string, string | undefined];
    if (name === "keys") keysOnly = true;
    else if (name === "count") countOnly = true;
    else if (name === "sort")
      [sortTarget, sortOrder] = (value as string).split(":") as [SortTarget, SortOrder];
    else numbers[name] = Number(value);
  }
  return {
    kind: "range",
    ...range,
    limit: numbers["limit"] ?? 0,
    revision: numbers["rev"] ?? 0,
    sortOrder,
    sortTarget,
    serializable: false,
    keysOnly,
    countOnly,
    minModRevision: numbers["min_mod"] ?? 0,
    maxModRevision: numbers["max_mod"] ?? 0,
    minCreateRevision: numbers["min_create"] ?? 0,
    maxCreateRevision: numbers["max_create"] ?? 0,
  };
}

function parseTxn(words: Words): TxnRequest {
  const compare: Compare[] = [];
  if (words.take("if")) {
    do compare.push(parseCompare(words.next()));
    while (words.take(","));
  }
  const success = words.take("then") ? parseList(words, () => parseOp(words)) : [];
  const failure = words.take("else") ? parseList(words, () => parseOp(words)) : [];
  return { kind: "txn", compare, success, failure };
}

function parseCompare(word: string): Compare {
  const parts = /^(.*)\.(version|create|mod|value|lease)(!=|=|>|<)(.*)$/.exec(word);
  if (parts === null) throw new Error(`no compare: ${word}`);
  const [, range, target, sign, operand] = parts as unknown as [
    string,
    string,
    Compare["operand"]["target"],
    string,
    string,
  ];
  const result = ({ "=": "equal", "!=": "notEqual", ">": "greater", "<": "less" } as const)[
    sign as "=" | "!=" | ">" | "<"
  ];
  if (target === "value")
    return { ...parseRange(range), result, operand: { target, bytes: parseBytes(operand) } };
  if (target === "lease")
    return { ...parseRange(range), result, operand: { target, lease: BigInt(operand) } };
  return { ...parseRange(range), result, operand: { target, number: Number(operand) } };
}
