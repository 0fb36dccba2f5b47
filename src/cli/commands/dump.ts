/**
 * dump [FILE]: every key of a range at one revision, a line each. Pages are read at the revision of the first one, so
 * that the whole is consistent, however long it takes; when that revision is compacted meanwhile the dump ends with an
 * error instead of a mixture. A file appears whole or not at all; a device or a pipe gets lines as they come.
 *
 * Locks are left out: they are held by somebody who is alive, and would come back as plain bytes.
 */
import { type FileHandle, open, rename, rm } from "node:fs/promises";
import { CommandError, Exit } from "../exit.ts";
import { RpcError } from "./client.ts";
import { count } from "./flags.ts";
import { fileEnding, isDevice } from "./files.ts";
import { Progress } from "./progress.ts";
import { bytesOf, prefixRange } from "./ranges.ts";
import { formatLine, type LineFormat } from "./records.ts";
import { SCAN } from "./rpcs.ts";
import type { Session } from "./session.ts";

export interface DumpFlags {
  readonly prefix?: string;
  readonly rev?: string;
  readonly format: LineFormat;
}

const PAGE_KEYS = 1000n;

interface Sink {
  write(text: string): Promise<void>;
  /** All is there. */
  finish(): Promise<void>;
  /** What is there is not all. */
  discard(): Promise<void>;
}

export async function dump(
  session: Session,
  args: readonly string[],
  flags: DumpFlags,
): Promise<void> {
  const range = prefixRange(bytesOf(flags.prefix ?? ""));
  let revision = count("--rev", flags.rev ?? "0");
  const client = await session.client();
  const path = args[0] ?? "-";
  const sink = path === "-" ? standardOutput(session) : await fileSink(path);
  let progress: Progress | null = null;
  let keys = 0;
  let locks = 0;
  let unsaid = 0;
  try {
    let { key } = range;
    for (;;) {
      const page = await client.unary(SCAN, {
        key,
        range_end: range.range_end,
        limit: PAGE_KEYS,
        revision,
      });
      // The first answer names the revision that all others are read at.
      if (revision === 0n) revision = page.revision;
      progress ??= new Progress(
        stderrScreen(session),
        session.streams.environment,
        Number(page.count),
      );
      let text = "";
      for (const kv of page.kvs) {
        if (kv.is_lock) {
          locks++;
          continue;
        }
        const lease = kv.lease === 0n ? null : kv.lease;
        const ttlMs = kv.ttl_ms === 0n ? null : Number(kv.ttl_ms);
        if (flags.format === "tsv" && (lease !== null || ttlMs !== null)) unsaid++;
        text += formatLine({ key: kv.key, value: kv.value, lease, ttlMs }, flags.format);
        keys++;
      }
      await sink.write(text);
      progress.show(keys + locks, keys);
      const last = page.kvs.at(-1);
      if (!page.more || last === undefined) break;
      // The key behind the last one: the same with a zero byte.
      key = Buffer.concat([last.key, Uint8Array.of(0)]);
    }
    await sink.finish();
  } catch (error) {
    await sink.discard();
    if (error instanceof RpcError && error.message.includes("compacted")) {
      throw new CommandError(
        `revision ${revision} was compacted while it was dumped`,
        Exit.refused,
        [
          "what was written is not the whole; dump again, or keep more history (--auto-compaction-retention)",
        ],
      );
    }
    throw path === "-" ? error : fileEnding(error, path);
  } finally {
    progress?.end();
  }
  const say = (text: string): void => session.streams.err(`harmonydb: ${text}\n`);
  if (locks > 0) say(`${locks} locks were left out`);
  if (unsaid > 0)
    say(`${unsaid} keys have a lease or a TTL, which TSV has no place for: use --format json`);
  if (path !== "-") {
    session.streams.out(
      session.form === "json"
        ? `{"keys":${keys},"revision":${revision}}\n`
        : `${keys} keys at revision ${revision}\n`,
    );
  }
}

export function stderrScreen(session: Session): {
  readonly isTTY: boolean;
  write(text: string): void;
} {
  return { isTTY: process.stderr.isTTY, write: (text) => session.streams.err(text) };
}

function standardOutput(session: Session): Sink {
  return {
    write: async (text) => {
      session.streams.out(text);
      await session.streams.drained();
    },
    finish: () => Promise.resolve(),
    discard: () => Promise.resolve(),
  };
}

async function fileSink(path: string): Promise<Sink> {
  const isKept = !(await isDevice(path));
  const partial = isKept ? `${path}.partial` : path;
  let file: FileHandle;
  try {
    file = await open(partial, "w", 0o600);
  } catch (error) {
    throw fileEnding(error, partial);
  }
  if (!isKept) {
    return {
      write: (text) => file.writeFile(text),
      finish: () => file.close(),
      discard: () => file.close().catch(() => {}),
    };
  }
  return {
    write: async (text) => {
      await file.writeFile(text);
    },
    finish: async () => {
      await file.sync();
      await file.close();
      await rename(partial, path);
    },
    discard: async () => {
      await file.close().catch(() => {});
      await rm(partial, { force: true }).catch(() => {});
    },
  };
}
