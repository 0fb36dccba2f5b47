/**
 * Whether the node lives, is ready, and is healthy: etcd's three questions, with etcd's paths and words, so that its
 * probes and load balancers can be pointed here.
 */
import type { HarmonyError } from "../../base/index.ts";
import { type Database, type RangeRequest, POINT } from "../../db/index.ts";
import type { Vitals } from "./vitals.ts";

/** Null: it passes. Otherwise why not. */
type Verdict = string | null;
type Check = (vitals: Vitals) => Promise<Verdict>;

const PROBE_TIMEOUT_MS = 2000;

const PROBE: RangeRequest = {
  ...POINT,
  key: new TextEncoder().encode("health"),
  limit: 1,
  keysOnly: true,
};

const NOT_SERVING = "the node is starting or stopping";

function read(database: Database, serializable: boolean): Promise<Verdict> {
  return new Promise((resolve) => {
    const reply = (error: HarmonyError | null): void =>
      resolve(error === null ? null : error.message);
    try {
      database.range({ ...PROBE, serializable }, { timeoutMs: PROBE_TIMEOUT_MS }, reply);
    } catch (error) {
      resolve(String(error));
    }
  });
}

const serializableRead: Check = async (vitals) => {
  const database = vitals.database();
  return database === null ? null : read(database, true);
};

/** A node that recovers is alive, and so is a member in quarantine: to restart either would make it begin again. */
const isAlive: Check = async (vitals) => {
  const verdict = await serializableRead(vitals);
  return vitals.database()?.status().quarantine == null ? verdict : null;
};

const isServing: Check = async (vitals) => (vitals.database() === null ? NOT_SERVING : null);

const linearizableRead: Check = async (vitals) => {
  const database = vitals.database();
  return database === null ? NOT_SERVING : read(database, false);
};

const noCorruption: Check = async (vitals) => {
  const status = vitals.database()?.status();
  if (status?.quarantine != null) return status.quarantine;
  return status?.alarms.includes("CORRUPT") === true ? "alarm CORRUPT" : null;
};

/** Where the others go on without it; where nobody can, what frees room has to come in somewhere. */
const hasRoom: Check = async (vitals) => vitals.database()?.status().aside ?? null;

/** A learner may be far behind, and does not vote. */
const nonLearner: Check = async (vitals) =>
  vitals.database()?.status().isLearner === true ? "this member is a learner" : null;

/** By path; etcd's names. */
const CHECKS: Readonly<Record<string, ReadonlyMap<string, Check>>> = {
  "/livez": new Map([["serializable_read", isAlive]]),
  "/readyz": new Map([
    ["serving", isServing],
    ["data_corruption", noCorruption],
    ["disk_space", hasRoom],
    ["serializable_read", serializableRead],
    ["linearizable_read", linearizableRead],
    ["non_learner", nonLearner],
  ]),
};

export interface Answer {
  readonly status: number;
  readonly type: "text/plain; charset=utf-8" | "application/json";
  readonly body: string;
}

/** `/livez`, `/readyz`, `/readyz/<check>`, with `?verbose` and `?exclude=<check>`. Null: no such path. */
export async function probe(
  vitals: Vitals,
  path: string,
  query: URLSearchParams,
): Promise<Answer | null> {
  const [, root = "", name, more] = path.split("/");
  const checks = CHECKS[`/${root}`];
  if (checks === undefined || more !== undefined) return null;
  const excluded = new Set(query.getAll("exclude"));
  const wanted =
    name === undefined
      ? [...checks].filter(([check]) => !excluded.has(check))
      : [...checks].filter(([check]) => check === name);
  if (name !== undefined && wanted.length === 0) return null;
  const verdicts = await Promise.all(
    wanted.map(async ([check, ask]) => [check, await ask(vitals)] as const),
  );
  const failed = verdicts.some(([, verdict]) => verdict !== null);
  const isVerbose = query.has("verbose") || failed;
  const lines = verdicts.map(([check, verdict]) =>
    verdict === null ? `[+]${check} ok` : `[-]${check} failed: ${verdict}`,
  );
  return {
    status: failed ? 503 : 200,
    type: "text/plain; charset=utf-8",
    body: `${isVerbose ? `${lines.join("\n")}\n` : ""}${failed ? `${root} check failed` : "ok"}\n`,
  };
}

/** `/health`, with `?exclude=NOSPACE` and `?serializable=true`. */
export async function health(vitals: Vitals, query: URLSearchParams): Promise<Answer> {
  const reason = await whyUnhealthy(
    vitals,
    new Set(query.getAll("exclude")),
    query.get("serializable") === "true",
  );
  return {
    status: reason === null ? 200 : 503,
    type: "application/json",
    body: JSON.stringify({ health: reason === null ? "true" : "false", reason: reason ?? "" }),
  };
}

async function whyUnhealthy(
  vitals: Vitals,
  excluded: ReadonlySet<string>,
  serializable: boolean,
): Promise<Verdict> {
  const database = vitals.database();
  if (database === null) return NOT_SERVING;
  const { alarms, leader } = database.status();
  const alarm = alarms.find((name) => !excluded.has(name));
  if (alarm !== undefined) return `ALARM ${alarm}`;
  if (!serializable && leader === 0n) return "RAFT NO LEADER";
  const error = await read(database, serializable);
  return error === null ? null : `RANGE ERROR:${error}`;
}
