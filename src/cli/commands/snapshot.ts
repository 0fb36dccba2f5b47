/**
 * snapshot save, status, restore: the whole state of a node as a file, and a node from it again.
 *
 * `save` writes beside FILE and renames at the end, when the stream was as long as its first message said and its last 32
 * bytes are the SHA-256 of those before; so FILE is whole or not there. `restore` works without a node, and what it has
 * made of the directory is removed when it fails.
 */
import { createHash } from "node:crypto";
import { open, rename, rm } from "node:fs/promises";
import { dirname } from "node:path";
import {
  inspectSnapshot,
  type Restored,
  restoreSnapshot,
  type SnapshotReport,
} from "../../db/index.ts";
import { type ErrorCode, HarmonyError } from "../../base/index.ts";
import { type Io, runIo } from "../../env/index.ts";
import { nodeEnv } from "../../platform/index.ts";
import { CommandError, Exit } from "../exit.ts";
import { count } from "./flags.ts";
import { fileEnding, isDevice } from "./files.ts";
import { stderrScreen } from "./dump.ts";
import { table } from "./output.ts";
import { Progress } from "./progress.ts";
import { SNAPSHOT } from "./rpcs.ts";
import type { Session } from "./session.ts";
import { sizeText } from "./status.ts";

const SHA256_BYTES = 32;
const ALIGNMENT_BYTES = 512;

export interface RestoreFlags {
  readonly dataDir: string;
  readonly name: string;
  readonly initialAdvertisePeerUrls?: string;
  readonly initialClusterToken?: string;
  readonly bumpRevision: string;
  readonly markCompacted?: boolean;
}

export async function save(session: Session, args: readonly string[]): Promise<void> {
  const path = args[0] as string;
  if (await isDevice(path))
    throw new CommandError(`${path} is no file, and a snapshot is whole or not there`, Exit.io);
  const client = await session.client();
  const part = `${path}.partial`;
  const call = client.download(SNAPSHOT, {});
  let sizeBytes = 0;
  try {
    const file = await open(part, "w", 0o600);
    try {
      const digest = createHash("sha256");
      let progress: Progress | null = null;
      let tail: Buffer = Buffer.alloc(0);
      try {
        for await (const message of call) {
          const { blob, remaining_bytes: remaining } = message as {
            readonly blob: Uint8Array;
            readonly remaining_bytes: bigint;
          };
          progress ??= new Progress(
            stderrScreen(session),
            session.streams.environment,
            blob.length + Number(remaining),
          );
          await file.writeFile(blob);
          sizeBytes += blob.length;
          const seen = Buffer.concat([tail, blob]);
          const known = Math.max(0, seen.length - SHA256_BYTES);
          digest.update(seen.subarray(0, known));
          tail = seen.subarray(known);
          progress.show(sizeBytes, sizeBytes);
        }
      } finally {
        progress?.end();
      }
      const isWhole = sizeBytes % ALIGNMENT_BYTES === SHA256_BYTES && digest.digest().equals(tail);
      if (!isWhole) {
        throw new CommandError("the snapshot did not arrive as it was sent", Exit.serverError, [
          "nothing was written; try again",
        ]);
      }
      await file.sync();
    } finally {
      await file.close();
    }
    await rename(part, path);
    const directory = await open(dirname(path), "r");
    try {
      await directory.sync();
    } finally {
      await directory.close();
    }
  } catch (error) {
    call.cancel();
    await rm(part, { force: true });
    throw fileEnding(client.endingOf(error), path);
  }
  if (session.form === "json") session.streams.out(`${JSON.stringify({ path, sizeBytes })}\n`);
  else session.streams.out(`Snapshot saved at ${path}\n`);
}

export async function status(session: Session, args: readonly string[]): Promise<void> {
  const path = args[0] as string;
  const report = await run<SnapshotReport>(inspectSnapshot(nodeEnv({ log: () => {} }), path));
  const hash = Buffer.from(report.sha256).toString("hex");
  const { revision, keys, entries, sizeBytes, index, term } = report;
  const createdAt = new Date(report.createdMs).toISOString();
  const clusterId = report.clusterId.toString(16);
  if (session.form === "json") {
    const document = {
      hash,
      revision,
      keys,
      entries,
      sizeBytes,
      clusterId,
      index,
      term,
      createdAt,
    };
    session.streams.out(`${JSON.stringify(document)}\n`);
    return;
  }
  const head = ["HASH", "REVISION", "TOTAL KEYS", "TOTAL SIZE", "CLUSTER", "RAFT INDEX", "CREATED"];
  const row = [
    hash.slice(0, 8),
    String(revision),
    String(keys),
    sizeText(BigInt(sizeBytes)),
    clusterId,
    String(index),
    createdAt,
  ];
  if (session.form === "table") session.streams.out(table(head, [row]));
  else if (session.form === "fields")
    session.streams.out(`${head.map((name, i) => `"${name}" : ${row[i] ?? ""}`).join("\n")}\n`);
  else session.streams.out(`${row.join(", ")}\n`);
}

export async function restore(
  session: Session,
  args: readonly string[],
  flags: RestoreFlags,
): Promise<void> {
  const { dataDir } = flags;
  const log = (level: string, _logger: string, message: string): void => {
    if (level !== "info") session.streams.err(`harmonydb: ${message}\n`);
  };
  let isMade = false;
  const io = restoreSnapshot(
    nodeEnv({ log }),
    {
      file: args[0] as string,
      dataDir,
      name: flags.name,
      peerUrls: flags.initialAdvertisePeerUrls?.split(",") ?? ["http://localhost:2380"],
      clusterToken: flags.initialClusterToken,
      bumpRevisions: Number(count("--bump-revision", flags.bumpRevision)),
      markCompacted: flags.markCompacted,
    },
    () => {
      isMade = true;
    },
  );
  let restored: Restored;
  try {
    restored = await run(io);
  } catch (error) {
    // It was not there before, and half of one is worth nothing.
    if (isMade) await rm(dataDir, { recursive: true, force: true });
    throw error;
  }
  const { revision, keys } = restored;
  const clusterId = restored.clusterId.toString(16);
  const memberId = restored.memberId.toString(16);
  session.streams.out(
    session.form === "json"
      ? `${JSON.stringify({ dataDir, clusterId, memberId, revision, keys })}\n`
      : `${dataDir} holds ${keys} keys at revision ${revision}; cluster ${clusterId}, member ${memberId}\n`,
  );
}

/** Runs what needs no node; its errors in the words and exit codes of a command. */
function run<T>(io: Io<T>): Promise<T> {
  return new Promise((resolve, reject) => {
    runIo(io, (error, value) => {
      if (error === null) resolve(value as T);
      else reject(endingOf(error) as Error);
    });
  });
}

/** What a person reads, and the exit code, where the generic ending would speak of a node's directory. */
const ENDINGS: Partial<Record<ErrorCode, readonly [exit: Exit, advice: string]>> = {
  NOT_A_SNAPSHOT: [
    Exit.badInput,
    "`harmonydb snapshot save` makes one, and etcdctl does against a HarmonyDB node; etcd's own are none",
  ],
  NEWER_FORMAT: [Exit.badInput, "use the harmonydb that wrote it, or a newer one"],
  CORRUPT: [Exit.corrupt, "this file was changed or cut: use another snapshot"],
  INVALID_ARGUMENT: [Exit.refused, "choose a --data-dir that does not exist"],
  IO: [Exit.io, "nothing is left of what was begun"],
  DISK_FULL: [Exit.io, "free space and try again; nothing is left of what was begun"],
};

function endingOf(error: unknown): unknown {
  if (!(error instanceof HarmonyError)) return error;
  const ending = ENDINGS[error.code];
  if (ending === undefined) return error;
  const [exit, advice] = ending;
  // Its own sentence speaks of the disk of a running node.
  const message =
    error.code === "DISK_FULL" ? `the disk is full: ${rootMessage(error)}` : error.message;
  return new CommandError(message, exit, [advice]);
}

function rootMessage(error: Error): string {
  return error.cause instanceof Error ? error.cause.message : error.message;
}
