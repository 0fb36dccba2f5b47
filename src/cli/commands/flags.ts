/** What every client command takes: where the node is, how long to wait, and in which form to answer. */
import { Option } from "commander";
import { CommandError, Exit } from "../exit.ts";
import { duration, ValueProblem } from "../values.ts";

export type Form = "simple" | "json" | "fields" | "table";

/** As commander hands them over. */
export interface ClientFlags {
  readonly endpoints?: string;
  readonly commandTimeout: string;
  readonly dialTimeout: string;
  readonly writeOut: Form;
  readonly hex?: boolean;
}

const ENDPOINT_DEFAULT = "127.0.0.1:2379";
const DAY_MS = 86_400_000;
const TIMEOUT = duration({ minMs: 1, maxMs: DAY_MS });

export function clientOptions(): readonly Option[] {
  return [
    new Option(
      "--endpoints <list>",
      `nodes to ask, with commas between them; the first that can be reached answers (default: HARMONYDB_ENDPOINTS, ETCDCTL_ENDPOINTS, ${ENDPOINT_DEFAULT})`,
    ).helpGroup("Node:"),
    new Option("--command-timeout <duration>", "how long an answer may take")
      .default("5s")
      .helpGroup("Node:"),
    new Option("--dial-timeout <duration>", "how long a connection may take")
      .default("2s")
      .helpGroup("Node:"),
    new Option("-w, --write-out <form>", "simple for eyes, json for programs")
      .choices(["simple", "json", "fields", "table"])
      .default("simple")
      .helpGroup("Output:"),
    new Option("--hex", "print keys and values as hexadecimal bytes").helpGroup("Output:"),
  ];
}

export interface Endpoint {
  /** As it stands in messages. */
  readonly text: string;
  readonly host: string;
  readonly port: number;
}

/** Flag, then environment, then the default. */
export function endpointsOf(
  flag: string | undefined,
  environment: Readonly<Record<string, string | undefined>>,
): readonly Endpoint[] {
  const named = [flag, environment["HARMONYDB_ENDPOINTS"], environment["ETCDCTL_ENDPOINTS"]];
  const list = named.find((text) => text !== undefined && text !== "") ?? ENDPOINT_DEFAULT;
  const parts = list.split(",").map((part) => part.trim());
  return parts.filter((part) => part !== "").map(parseEndpoint);
}

/** `host:port`, with or without `http://` before it. */
export function parseEndpoint(text: string): Endpoint {
  if (text.startsWith("https://")) {
    throw badArguments(`${text}: TLS is not available in this version: write http://host:port`);
  }
  const [, host, port] =
    /^(?:http:\/\/)?(\[[\da-fA-F:.]+\]|[^:/\s]+):(\d{1,5})\/?$/.exec(text) ?? [];
  if (host === undefined || Number(port) > 65_535 || Number(port) === 0)
    throw badArguments(`"${text}" is no endpoint: write host:port, as in 127.0.0.1:2379`);
  return { text: `${host}:${port}`, host: host.replace(/^\[|\]$/g, ""), port: Number(port) };
}

export function badArguments(message: string, ...advice: readonly string[]): CommandError {
  return new CommandError(message, Exit.badArguments, advice);
}

/** Reads the text of a flag; a problem names the flag. */
export function flagValue<T>(flag: string, read: (text: string) => T, text: string): T {
  try {
    return read(text);
  } catch (error) {
    if (error instanceof ValueProblem) throw badArguments(`${flag}: ${error.message}`);
    throw error;
  }
}

export function timeoutMs(flag: string, text: string): number {
  return flagValue(flag, TIMEOUT, text);
}

/** A whole number of 64 bits with a sign, decimal. */
export function int64(flag: string, text: string): bigint {
  const value = /^[+-]?\d{1,20}$/.test(text) ? BigInt(text) : null;
  if (value === null || BigInt.asIntN(64, value) !== value)
    throw badArguments(`${flag}: "${text}" is not a whole number of 64 bits`);
  return value;
}

/** A revision, a limit: a whole number that is not negative. */
export function count(flag: string, text: string): bigint {
  const value = int64(flag, text);
  if (value < 0n) throw badArguments(`${flag}: "${text}" is negative`);
  return value;
}

/** A lease as etcdctl writes it: hexadecimal. */
export function leaseId(flag: string, text: string): bigint {
  if (!/^[\da-fA-F]{1,16}$/.test(text))
    throw badArguments(`${flag}: "${text}" is not the hexadecimal id of a lease`);
  return BigInt.asIntN(64, BigInt(`0x${text}`));
}

export function leaseText(id: bigint): string {
  return BigInt.asUintN(64, id).toString(16).padStart(16, "0");
}
