/**
 * txn: compares, then operations for success, then operations for failure, one on each line, with an empty line after
 * each part. The language is etcdctl's:
 *
 *     mod("key") = "3"          also create, version, value, lease; = != < >
 *
 *     put key "a value"
 *     get key --prefix
 *
 *     del key
 */
import { Command, CommanderError } from "commander";
import { etcd } from "../../codec/messages/index.ts";
import { CommandError, Exit } from "../exit.ts";
import { delOptions, getOptions, putOptions } from "./key-flags.ts";
import { leaseId } from "./flags.ts";
import { readAll } from "./input.ts";
import {
  type DelFlags,
  deleteRequest,
  type GetFlags,
  printDelete,
  printPut,
  printRange,
  type PutFlags,
  putRequest,
  rangeRequest,
} from "./kv.ts";
import { tableText } from "./output.ts";
import { bytesOf } from "./ranges.ts";
import { TXN } from "./rpcs.ts";
import type { Session } from "./session.ts";

export async function txn(session: Session): Promise<void> {
  const text = Buffer.from(await readAll(process.stdin)).toString("utf8");
  const { request, flags } = parseTxn(text);
  const client = await session.client();
  const response = await client.unary(TXN, request);
  if (session.form === "table") {
    const { header, succeeded } = response;
    const revision = header?.revision ?? 0n;
    session.streams.out(tableText({ succeeded, revision }, session.hex));
    for (const {
      response_range: range,
      response_put: put,
      response_delete_range: del,
    } of response.responses)
      session.streams.out(tableText(range ?? put ?? del ?? {}, session.hex));
    return;
  }
  if (session.form !== "simple") {
    // etcdctl's JSON has the protocol's union as an object of its own.
    const responses = response.responses.map((op) => ({ Response: op }));
    session.print({ ...response, responses }, () => undefined);
    return;
  }
  session.streams.out(response.succeeded ? "SUCCESS\n" : "FAILURE\n");
  const branch = response.succeeded ? flags.success : flags.failure;
  for (const [i, op] of response.responses.entries()) {
    session.streams.out("\n");
    if (op.response_range !== undefined) printRange(session, op.response_range, branch[i] ?? {});
    else if (op.response_put !== undefined) printPut(session, op.response_put);
    else if (op.response_delete_range !== undefined) printDelete(session, op.response_delete_range);
  }
}

export interface ParsedTxn {
  readonly request: etcd.TxnRequest;
  /** How the answers of each operation are printed. */
  readonly flags: { readonly success: readonly GetFlags[]; readonly failure: readonly GetFlags[] };
}

/** Throws a CommandError that names the line. */
export function parseTxn(text: string): ParsedTxn {
  const lines = text.split("\n").map((line) => line.trim());
  let at = 0;
  const part = <T>(read: (line: string) => T): T[] => {
    const items: T[] = [];
    while (at < lines.length && lines[at] !== "") {
      const number = at + 1;
      try {
        items.push(read(lines[at++] as string));
      } catch (error) {
        const reason = error instanceof Error ? error.message : String(error);
        throw new CommandError(`line ${number} of the transaction: ${reason}`, Exit.badInput, [
          'compares, an empty line, operations, an empty line, operations; as in: mod("key") = "3"',
        ]);
      }
    }
    at++;
    return items;
  };
  const compare = part(parseCompare);
  const success = part(parseOp);
  const failure = part(parseOp);
  const rest = lines.findIndex((line, i) => i >= at && line !== "");
  if (rest >= 0) {
    throw new CommandError(
      `line ${rest + 1} of the transaction stands behind its end`,
      Exit.badInput,
      ["the third empty line ends a transaction"],
    );
  }
  return {
    request: {
      compare,
      success: success.map(({ op }) => op),
      failure: failure.map(({ op }) => op),
    },
    flags: {
      success: success.map(({ flags }) => flags),
      failure: failure.map(({ flags }) => flags),
    },
  };
}

const RESULTS: Readonly<Record<string, etcd.Compare_CompareResult>> = {
  "=": etcd.Compare_CompareResult.EQUAL,
  "!=": etcd.Compare_CompareResult.NOT_EQUAL,
  ">": etcd.Compare_CompareResult.GREATER,
  "<": etcd.Compare_CompareResult.LESS,
};

function parseCompare(line: string): etcd.Compare {
  const match = /^([a-z]+)\s*\((.*)\)\s*(!=|=|<|>)\s*(\S.*)$/.exec(line);
  if (match === null) throw new Error(`"${line}" is no compare`);
  const [, target, keyText, sign, operandText] = match as unknown as [
    string,
    string,
    string,
    string,
    string,
  ];
  const key = bytesOf(oneWord(keyText));
  const operand = oneWord(operandText);
  const base = {
    result: RESULTS[sign] as etcd.Compare_CompareResult,
    key,
    range_end: new Uint8Array(0),
  };
  const number = (): bigint => {
    if (!/^\d{1,18}$/.test(operand)) throw new Error(`"${operand}" is not a number`);
    return BigInt(operand);
  };
  switch (target) {
    case "ver":
    case "version":
      return { ...base, target: etcd.Compare_CompareTarget.VERSION, version: number() };
    case "c":
    case "create":
      return { ...base, target: etcd.Compare_CompareTarget.CREATE, create_revision: number() };
    case "m":
    case "mod":
      return { ...base, target: etcd.Compare_CompareTarget.MOD, mod_revision: number() };
    case "val":
    case "value":
      return { ...base, target: etcd.Compare_CompareTarget.VALUE, value: bytesOf(operand) };
    case "lease":
      return {
        ...base,
        target: etcd.Compare_CompareTarget.LEASE,
        lease: leaseId("lease", operand),
      };
    default:
      throw new Error(`"${target}" is none of mod, create, version, value, lease`);
  }
}

function oneWord(text: string): string {
  const words = splitWords(text);
  if (words.length !== 1) throw new Error(`"${text}" has to be one word or one quoted text`);
  return words[0] as string;
}

interface ParsedOp {
  readonly op: etcd.RequestOp;
  readonly flags: GetFlags;
}

function parseOp(line: string): ParsedOp {
  const [name, ...args] = splitWords(line);
  const parsed = (
    command: Command,
  ): { readonly args: readonly string[]; readonly flags: object } => {
    command
      .exitOverride()
      .configureOutput({ writeErr: () => undefined, writeOut: () => undefined });
    try {
      command.helpOption(false).parse(args, { from: "user" });
    } catch (error) {
      if (error instanceof CommanderError)
        throw new Error(error.message.replace(/^error: /, ""), { cause: error });
      throw error;
    }
    return { args: command.args, flags: command.opts() };
  };
  if (name === "put") {
    const { args: words, flags } = parsed(
      putOptions(new Command("put").argument("<key>").argument("[value]")),
    );
    if (words[1] === undefined && (flags as PutFlags).ignoreValue !== true)
      throw new Error("put needs a value");
    return { op: { request_put: putRequest(words[0] as string, words[1], flags) }, flags: {} };
  }
  if (name === "get") {
    const { args: words, flags } = parsed(
      getOptions(new Command("get").argument("<key>").argument("[end]")),
    );
    const get = flags as GetFlags;
    return { op: { request_range: rangeRequest(words[0] as string, words[1], get) }, flags: get };
  }
  if (name === "del") {
    const { args: words, flags } = parsed(
      delOptions(new Command("del").argument("<key>").argument("[end]")),
    );
    const request = deleteRequest(words[0] as string, words[1], flags as DelFlags);
    return { op: { request_delete_range: request }, flags: {} };
  }
  throw new Error(`"${name ?? ""}" is none of put, get, del`);
}

const ESCAPES: Readonly<Record<string, string>> = { n: "\n", t: "\t", r: "\r", "0": "\0" };

/** Words of a line. Within double quotes a backslash escapes; within single quotes nothing does. */
export function splitWords(line: string): string[] {
  const words: string[] = [];
  let word: string | null = null;
  let quote = "";
  for (let i = 0; i < line.length; i++) {
    const character = line[i] as string;
    if (quote !== "") {
      if (character === quote) quote = "";
      else if (character === "\\" && quote === '"') {
        const next = line[++i];
        if (next === undefined) throw new Error("a backslash ends the line");
        word += ESCAPES[next] ?? next;
      } else word += character;
    } else if (character === '"' || character === "'") {
      quote = character;
      word ??= "";
    } else if (/\s/.test(character)) {
      if (word !== null) words.push(word);
      word = null;
    } else word = (word ?? "") + character;
  }
  if (quote !== "") throw new Error(`a quote (${quote}) is not closed`);
  if (word !== null) words.push(word);
  return words;
}
