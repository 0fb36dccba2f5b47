/**
 * How the process ends. Supervisors act on these numbers, so each has one meaning: 1 needs a person, 70 and 74 need
 * a look at the disk before anything is restarted, 134 is a defect of ours.
 */
import { AssertionError, CorruptionError, HarmonyError } from "../base/index.ts";
import { FileError } from "../env/index.ts";

export const Exit = {
  ok: 0,
  /** The start was refused: a wrong option, a locked directory, a port in use. Nothing was changed. */
  refused: 1,
  /** The numbers from 2 to 6 and 128 are those that scripts know from etcdctl. No node was reached, or it was lost. */
  badConnection: 2,
  /** The input of a command (a transaction, an import) is not what it should be. */
  badInput: 3,
  /** The node does not know the request, or failed at it. */
  serverError: 4,
  /** A node answers and is not well. */
  unhealthy: 5,
  /** A file on this side could not be read or written. */
  io: 6,
  /** Bytes that were proven durable are damaged (EX_DATAERR's neighbour in sysexits; etcd users know no number here). */
  corrupt: 70,
  /** A write or sync failed while running, or the disk answers EIO (EX_IOERR). Nothing was acknowledged after it. */
  disk: 74,
  /** A client's command was called with the wrong arguments, or there is no such command. */
  badArguments: 128,
  /** An invariant broke or an error had no handler: the number that abort(3) gives, without a core full of user data. */
  defect: 134,
} as const;
export type Exit = (typeof Exit)[keyof typeof Exit];

/** An end that has a sentence for the person who called the command. `lines` follow it, indented. */
export class CommandError extends Error {
  override readonly name = "CommandError" as const;
  readonly exit: Exit;
  readonly lines: readonly string[];

  constructor(message: string, exit: Exit = Exit.refused, lines: readonly string[] = []) {
    super(message);
    this.exit = exit;
    this.lines = lines;
  }
}

/** What an error means for the process, and what the operator reads: what happened, where, what to do. */
export interface Ending {
  readonly exit: Exit;
  readonly message: string;
  readonly advice: string;
}

/** The process or the machine has as many files open as it may. */
const LIMITS: ReadonlyMap<string, string> = new Map([
  ["EMFILE", "raise the limit of open files (ulimit -n, LimitNOFILE) and start again"],
  ["ENFILE", "the machine has no file handles left: raise fs.file-max and start again"],
]);

/** Errors of files that a person mends without a look at the disk: rights, missing mounts, limits. */
const MENDABLE: Readonly<Record<string, string>> = {
  EACCES: "give the user of this process access to the directory, or choose another --data-dir",
  EPERM: "give the user of this process access to the directory, or choose another --data-dir",
  EROFS: "the file system is mounted read-only: mount it for writing, or choose another --data-dir",
  ENOENT: "create the parent directory, or choose another --data-dir",
  ENOTDIR: "a file stands where a directory is needed: choose another --data-dir",
  EEXIST: "a file stands where a directory is needed: choose another --data-dir",
  ENOSPC: "the disk is full: free space and start again; what was acknowledged is safe",
  EDQUOT:
    "the quota of the disk is used up: free space and start again; what was acknowledged is safe",
  ...Object.fromEntries(LIMITS),
};

/** Translates whatever ended a start or a running node. */
export function endingOf(error: unknown, dataDir: string): Ending {
  if (error instanceof CommandError)
    return { exit: error.exit, message: error.message, advice: error.lines.join("; ") };
  if (error instanceof CorruptionError) {
    return {
      exit: Exit.corrupt,
      message: error.message,
      advice:
        "nothing was changed or deleted; look at the disk, keep a copy of the directory, " +
        `see \`harmonydb wal verify --data-dir ${dataDir}\` and \`harmonydb check --data-dir ${dataDir}\`, and restore a backup`,
    };
  }
  if (error instanceof FileError) return fileEnding(error, dataDir);
  if (error instanceof HarmonyError) return harmonyEnding(error, dataDir);
  if (error instanceof Error && "code" in error) {
    const advice = LIMITS.get(String(error.code));
    // The program's own files are opened when they are needed, too.
    if (advice !== undefined) return { exit: Exit.refused, message: error.message, advice };
  }
  if (isListenError(error)) {
    return {
      exit: Exit.refused,
      message: error.message,
      advice:
        error.code === "EADDRINUSE"
          ? "another process listens on that port: stop it, or choose another with --listen-client-urls"
          : "choose an address of this machine with --listen-client-urls",
    };
  }
  return defectEnding(error);
}

function defectEnding(error: unknown): Ending {
  return {
    exit: Exit.defect,
    message:
      error instanceof AssertionError ? `broken invariant: ${error.message}` : describe(error),
    advice: "this is a defect: please report it with the log; restarting is safe",
  };
}

function fileEnding(error: FileError, dataDir: string): Ending {
  if (error.code === "ELOCKED") return lockedEnding(error.message, dataDir);
  const advice = MENDABLE[error.code];
  if (advice !== undefined) return { exit: Exit.refused, message: error.message, advice };
  return {
    exit: Exit.disk,
    message: error.message,
    advice:
      "look at the disk and the kernel's log before the next start; what was acknowledged is on the disk as far as it kept its word",
  };
}

function harmonyEnding(error: HarmonyError, dataDir: string): Ending {
  const { code, message } = error;
  if (code === "DIRECTORY_LOCKED") return lockedEnding(message, dataDir);
  if (code === "CORRUPT") {
    return {
      exit: Exit.corrupt,
      message,
      advice: "nothing was changed; look at the disk and restore a backup",
    };
  }
  if (code === "IO" || code === "STOPPED") {
    // A node stops for a failed write, for damage, and for an invariant that broke: the cause tells which.
    const cause = rootCause(error);
    if (cause !== error) return endingOf(cause, dataDir);
    return {
      exit: Exit.disk,
      message,
      advice: "look at the disk and the kernel's log before the next start",
    };
  }
  let advice = `error code ${code}, see docs/reference/errors.md`;
  if (code === "WRONG_CLUSTER") {
    advice = `${dataDir} was made with another --name, --initial-cluster-token or advertised peer URL: use those, or another --data-dir`;
  } else if (code === "MEMBER_REMOVED") {
    advice = `what ${dataDir} holds is in the cluster; to come back, \`harmonydb member add\` this node as a new member and start it with a new --data-dir`;
  } else if (code === "UNREACHABLE") {
    advice =
      "compare --initial-cluster with `harmonydb member list`, and look whether the members listen there";
  } else if (code === "DISK_FULL") {
    advice = "free space and start again; what was acknowledged is safe";
  } else if (code === "NEWER_FORMAT") {
    advice = `${dataDir} needs a newer harmonydb than this one: install that, or choose another --data-dir`;
  }
  return { exit: Exit.refused, message, advice };
}

/** What lies at the bottom: errors are wrapped on their way from the disk to the process. */
function rootCause(error: Error): unknown {
  let cause: unknown = error;
  while (cause instanceof Error && cause.cause !== undefined) cause = cause.cause;
  return cause;
}

function lockedEnding(message: string, dataDir: string): Ending {
  return {
    exit: Exit.refused,
    message,
    advice: `stop the other harmonydb that runs on ${dataDir}, or give this one another --data-dir`,
  };
}

/** A failed write while running is never the operator's small matter, whatever its errno: the log has stopped. */
export function runningEndingOf(error: unknown, dataDir: string): Ending {
  const ending = endingOf(error, dataDir);
  // Neither is a removal: somebody decided it, and the disk is well.
  const isDecided =
    error instanceof HarmonyError && (error.code === "CORRUPT" || error.code === "MEMBER_REMOVED");
  const fromDisk = error instanceof FileError || (error instanceof HarmonyError && !isDecided);
  return fromDisk && ending.exit === Exit.refused ? { ...ending, exit: Exit.disk } : ending;
}

function isListenError(error: unknown): error is Error & { readonly code: string } {
  const code = error instanceof Error && "code" in error ? error.code : undefined;
  return (
    code === "EADDRINUSE" || code === "EADDRNOTAVAIL" || code === "EACCES" || code === "ENOTFOUND"
  );
}

export function describe(error: unknown): string {
  return error instanceof Error ? `${error.name}: ${error.message}` : String(error);
}
