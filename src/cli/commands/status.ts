/** status (endpoint status) and endpoint health: every endpoint is asked, and each answer stands on its own. */
import { CommandError, Exit } from "../exit.ts";
import { Client, RpcError } from "./client.ts";
import { explained } from "./explain.ts";
import { count, type Endpoint, parseEndpoint } from "./flags.ts";
import { jsonText, table } from "./output.ts";
import { rangeOf } from "./ranges.ts";
import { ALARM, HASH_KV, MEMBER_LIST, RANGE, STATUS } from "./rpcs.ts";
import { rangeRequest } from "./kv.ts";
import type { Session } from "./session.ts";

/** By etcd's number. */
const CORRUPT = 2;

const HEAD = [
  "ENDPOINT",
  "ID",
  "VERSION",
  "STORAGE VERSION",
  "DB SIZE",
  "IN USE",
  "IS LEADER",
  "IS LEARNER",
  "RAFT TERM",
  "RAFT INDEX",
  "RAFT APPLIED INDEX",
  "ERRORS",
];

const HEALTH_HEAD = ["ENDPOINT", "HEALTH", "TOOK", "ERROR"];
const HASH_HEAD = ["ENDPOINT", "HASH", "HASH REVISION"];

export interface EndpointFlags {
  readonly cluster?: boolean;
}

interface Asked {
  readonly endpoints: readonly Endpoint[];
  /** Members that nobody can ask, and why: the others are asked all the same. */
  readonly missing: readonly CommandError[];
}

/** The endpoints that were named, or those of all members that one of them knows of. */
async function askedOf(session: Session, flags: EndpointFlags): Promise<Asked> {
  if (flags.cluster !== true) return { endpoints: session.endpoints, missing: [] };
  const client = await session.client();
  const { members } = await client.unary(MEMBER_LIST, { linearizable: false });
  const endpoints: Endpoint[] = [];
  const missing: CommandError[] = [];
  for (const { name, ID, clientURLs, peerURLs } of members) {
    const [url] = clientURLs;
    if (url !== undefined) endpoints.push(parseEndpoint(url));
    else {
      const who = name === "" ? `${ID.toString(16)} at ${peerURLs.join(",")}` : name;
      const why = `member ${who} has not said where its clients come in: it has not started yet, or is not reached by the one that was asked`;
      missing.push(new CommandError(why, Exit.unhealthy));
    }
  }
  return { endpoints, missing };
}

export async function status(session: Session, flags: EndpointFlags): Promise<void> {
  const { endpoints, missing } = await askedOf(session, flags);
  const rows: string[][] = [];
  const documents: object[] = [];
  let failure: unknown = tell(session, missing);
  for (const endpoint of endpoints) {
    try {
      const client = await Client.open([endpoint], session.times);
      try {
        const answer = await client.unary(STATUS, {});
        const memberId = answer.header?.member_id ?? 0n;
        documents.push({ Endpoint: endpoint.text, Status: answer });
        rows.push([
          endpoint.text,
          memberId.toString(16),
          answer.version,
          answer.storageVersion,
          sizeText(answer.dbSize),
          sizeText(answer.dbSizeInUse),
          String(answer.leader === memberId),
          String(answer.isLearner),
          String(answer.raftTerm),
          String(answer.raftIndex),
          String(answer.raftAppliedIndex),
          answer.errors.join(", "),
        ]);
      } finally {
        client.close();
      }
    } catch (error) {
      failure ??= error;
      session.streams.err(`harmonydb: ${reasonOf(error)}\n`);
    }
  }
  if (session.form === "json") session.streams.out(`${jsonText(documents, session.hex)}\n`);
  else if (session.form === "table") session.streams.out(table(HEAD, rows));
  else if (session.form === "fields") {
    printFields(session, HEAD, rows);
  } else for (const row of rows) session.streams.out(`${row.join(", ")}\n`);
  if (failure !== null) {
    const exit = failure instanceof CommandError ? failure.exit : Exit.refused;
    const all = endpoints.length + missing.length;
    throw new CommandError(`${rows.length} of ${all} endpoints answered`, exit);
  }
}

/** Says what is missing; gives the first of it. */
function tell(session: Session, missing: readonly CommandError[]): CommandError | null {
  for (const { message } of missing) session.streams.err(`harmonydb: ${message}\n`);
  return missing[0] ?? null;
}

/** As etcdctl: a linearizable read, and no alarm. */
export async function health(session: Session, flags: EndpointFlags): Promise<void> {
  const results: { endpoint: string; health: boolean; took: string; error: string }[] = [];
  const { endpoints, missing } = await askedOf(session, flags);
  tell(session, missing);
  for (const endpoint of endpoints) {
    const began = process.hrtime.bigint();
    let error = "";
    try {
      const client = await Client.open([endpoint], session.times);
      try {
        await client.unary(RANGE, {
          ...rangeRequest("health", undefined, {}),
          ...rangeOf("health", undefined, {}),
        });
        const { alarms } = await client.unary(ALARM, { action: 0, memberID: 0n, alarm: 0 });
        if (alarms.length > 0)
          error = `an alarm is raised: ${alarms.some(({ alarm }) => alarm === CORRUPT) ? "the state of a member was damaged, or members differ" : "the database has no space left"}`;
      } finally {
        client.close();
      }
    } catch (thrown) {
      error = reasonOf(await explained(thrown, [endpoint]));
    }
    const took = `${(Number(process.hrtime.bigint() - began) / 1e6).toFixed(3)}ms`;
    results.push({ endpoint: endpoint.text, health: error === "", took, error });
  }
  const rows = results.map(({ endpoint, health: isHealthy, took, error }) => [
    endpoint,
    String(isHealthy),
    took,
    error,
  ]);
  if (session.form === "json") session.streams.out(`${JSON.stringify(results)}\n`);
  else if (session.form === "table") session.streams.out(table(HEALTH_HEAD, rows));
  else if (session.form === "fields") printFields(session, HEALTH_HEAD, rows);
  else {
    for (const { endpoint, health: isHealthy, took, error } of results) {
      session.streams.out(
        isHealthy
          ? `${endpoint} is healthy: successfully committed proposal: took = ${took}\n`
          : `${endpoint} is unhealthy: ${error}\n`,
      );
    }
  }
  const sick = results.filter(({ health: isHealthy }) => !isHealthy).length + missing.length;
  const all = results.length + missing.length;
  if (sick > 0) throw new CommandError(`${sick} of ${all} endpoints are unhealthy`, Exit.unhealthy);
}

/**
 * The hash of the keys of one revision, of every endpoint that can be reached: where none is named, the newest that all of
 * them have. Exit 5 when they differ.
 */
export async function hashKv(
  session: Session,
  flags: EndpointFlags & { readonly rev?: string },
): Promise<void> {
  const { endpoints, missing } = await askedOf(session, flags);
  let failure: CommandError | null = tell(session, missing);
  const clients: Client[] = [];
  try {
    for (const endpoint of endpoints) {
      try {
        clients.push(await Client.open([endpoint], session.times));
      } catch (error) {
        if (!(error instanceof CommandError)) throw error;
        const told = tell(session, [error]);
        failure ??= told;
      }
    }
    let revision = count("--rev", flags.rev ?? "0");
    if (revision === 0n) {
      const newest = await Promise.all(
        clients.map(async (client) => (await client.unary(STATUS, {})).header?.revision ?? 0n),
      );
      revision = newest.reduce((least, one) => (one < least ? one : least), newest[0] ?? 0n);
    }
    const answers = await Promise.all(
      clients.map(async (client) => ({
        Endpoint: client.endpoint.text,
        HashKV: await client.unary(HASH_KV, { revision }),
      })),
    );
    const rows = answers.map(({ Endpoint: endpoint, HashKV: { hash, hash_revision } }) => [
      endpoint,
      String(hash),
      String(hash_revision),
    ]);
    if (session.form === "json") session.streams.out(`${jsonText(answers, session.hex)}\n`);
    else if (session.form === "table") session.streams.out(table(HASH_HEAD, rows));
    else if (session.form === "fields") printFields(session, HASH_HEAD, rows);
    else for (const row of rows) session.streams.out(`${row.join(", ")}\n`);
    if (new Set(answers.map(({ HashKV: { hash } }) => hash)).size > 1)
      throw new CommandError(`the members differ at revision ${revision}`, Exit.unhealthy, [
        "one of them is damaged: compare three or more to see which, and keep all directories",
      ]);
    if (failure !== null) {
      const all = endpoints.length + missing.length;
      throw new CommandError(`${rows.length} of ${all} endpoints answered`, failure.exit);
    }
  } finally {
    for (const client of clients) client.close();
  }
}

function reasonOf(error: unknown): string {
  if (error instanceof RpcError || error instanceof CommandError) return error.message;
  return String(error);
}

/** A line for each field, and an empty one behind each endpoint. */
function printFields(
  session: Session,
  head: readonly string[],
  rows: readonly (readonly string[])[],
): void {
  for (const row of rows)
    session.streams.out(`${head.map((name, i) => `"${name}" : ${row[i] ?? ""}`).join("\n")}\n\n`);
}

const UNITS = ["B", "kB", "MB", "GB", "TB"];

export function sizeText(bytes: bigint | number): string {
  let value = Number(bytes);
  let unit = 0;
  while (value >= 1000 && unit < UNITS.length - 1) {
    value /= 1000;
    unit++;
  }
  return `${unit === 0 ? value : value.toFixed(1)} ${UNITS[unit]}`;
}
