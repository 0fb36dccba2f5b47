/**
 * load FILE: puts what the lines of a file say, in batches that are one revision each. The file is read as a stream.
 *
 * A batch is put at once or not at all, and to put it again changes nothing but revisions; so a batch whose answer was
 * lost is sent again, and a load that was stopped goes on from the last batch that is written down (`--resume`).
 *
 * Invariant: when a position is written down, every line before it was put or was skipped on demand.
 */
import { createHash } from "node:crypto";
import { createReadStream } from "node:fs";
import { open, readFile, rm, stat } from "node:fs/promises";
import { setTimeout as sleep } from "node:timers/promises";
import { native } from "../../codec/messages/index.ts";
import { CommandError, Exit } from "../exit.ts";
import { byteSize } from "../values.ts";
import { type Client, RpcError } from "./client.ts";
import { stderrScreen } from "./dump.ts";
import { fileEnding, replaceFile } from "./files.ts";
import { badArguments, count, flagValue } from "./flags.ts";
import { type Line, linesOf } from "./input.ts";
import { Progress } from "./progress.ts";
import { BadLine, type KeyRecord, type LineFormat, parseLine } from "./records.ts";
import { MSET } from "./rpcs.ts";
import type { Session } from "./session.ts";

export interface LoadFlags {
  readonly format: LineFormat;
  readonly resume?: boolean;
  readonly fromLine?: string;
  readonly strict?: boolean;
  readonly skipBadLines?: boolean;
  readonly leases: boolean;
  readonly maxLineBytes: string;
}

/** Far below what a request may hold (1.5 MiB) and a transaction may do. */
const BATCH_KEYS = 500;
const BATCH_BYTES = 512 * 1024;
const SAVE_MS = 1000;
const ATTEMPTS = 6;
const SKIPPED_TOLD_MAX = 20;

/** Where the next line begins. */
interface Position {
  readonly line: number;
  readonly offset: number;
}

interface Item {
  readonly line: number;
  readonly record: KeyRecord;
}

export async function load(
  session: Session,
  args: readonly string[],
  flags: LoadFlags,
): Promise<void> {
  if (flags.strict === true && flags.skipBadLines === true)
    throw badArguments("--strict and --skip-bad-lines cannot be given together");
  if (flags.resume === true && flags.fromLine !== undefined)
    throw badArguments("--resume and --from-line cannot be given together");
  const path = args[0] as string;
  const lineBytesMax = flagValue(
    "--max-line-bytes",
    byteSize({ min: 64, max: 256 * 1024 ** 2 }),
    flags.maxLineBytes,
  );
  const source = await openSource(path, flags);
  const client = await session.client();
  await new Load(session, client, flags, source).run(lineBytesMax);
}

interface Source {
  readonly path: string;
  readonly stream: AsyncIterable<Uint8Array>;
  readonly start: Position;
  /** Lines before this one are passed over. */
  readonly fromLine: number;
  readonly sizeBytes: number | null;
  readonly state: StateFile | null;
}

async function openSource(path: string, flags: LoadFlags): Promise<Source> {
  const fromLine = Number(count("--from-line", flags.fromLine ?? "1"));
  if (path === "-") return onceOnly("standard input", process.stdin, fromLine, flags);
  try {
    const found = await stat(path);
    const { size } = found;
    // A pipe, as `load <(zcat keys.gz)` has one: whoever looks at its beginning takes that away.
    if (!found.isFile() && !found.isDirectory())
      return onceOnly(path, createReadStream(path), fromLine, flags);
    const state = new StateFile(path, await headOf(path));
    const start = flags.resume === true ? await state.read(size) : { line: 1, offset: 0 };
    const stream = createReadStream(path, { start: start.offset, highWaterMark: 256 * 1024 });
    // Opened before a node is asked: a file that cannot be read is told first.
    await new Promise<void>((resolve, reject) =>
      stream.once("open", () => resolve()).once("error", reject),
    );
    return { path, stream, start, fromLine, sizeBytes: size, state };
  } catch (error) {
    throw fileEnding(error, path);
  }
}

/** What cannot be read again, and whose length nobody knows. */
function onceOnly(
  path: string,
  stream: AsyncIterable<Uint8Array>,
  fromLine: number,
  flags: LoadFlags,
): Source {
  if (flags.resume === true)
    throw badArguments(`--resume needs a file: ${path} cannot be read again`);
  return { path, stream, start: { line: 1, offset: 0 }, fromLine, sizeBytes: null, state: null };
}

class Load {
  readonly #session: Session;
  readonly #client: Client;
  readonly #flags: LoadFlags;
  readonly #source: Source;
  readonly #progress: Progress;
  #batch: Item[] = [];
  #batchBytes = 0;
  #keys = 0;
  #skipped = 0;
  /** Everything before it is done. */
  #done: Position;
  /** Where the line behind the batch begins that is gathered; null: with `#done`. */
  #behindBatch: Position | null = null;
  #isStopped = false;
  #isSaving = true;

  constructor(session: Session, client: Client, flags: LoadFlags, source: Source) {
    this.#session = session;
    this.#client = client;
    this.#flags = flags;
    this.#source = source;
    this.#done = source.start;
    this.#progress = new Progress(
      stderrScreen(session),
      session.streams.environment,
      source.sizeBytes,
    );
  }

  async run(lineBytesMax: number): Promise<void> {
    const { stream, start, state, fromLine, path } = this.#source;
    const startedMs = performance.now();
    // Written at once, too: whether a stopped load can go on is known before it matters.
    let savedMs = Number.NEGATIVE_INFINITY;
    const stop = (): void => {
      this.#isStopped = true;
    };
    process.on("SIGINT", stop).on("SIGTERM", stop);
    try {
      for await (const line of linesOf(stream, lineBytesMax, {
        number: start.line,
        offset: start.offset,
      })) {
        if (line.number >= fromLine) await this.#take(line, lineBytesMax);
        else this.#done = { line: line.number + 1, offset: line.end };
        this.#progress.show(line.end, this.#keys);
        if (state !== null && performance.now() - savedMs > SAVE_MS) {
          await this.#save(state);
          savedMs = performance.now();
        }
        if (this.#isStopped) break;
      }
      await this.#flush();
      if (this.#isStopped) throw new CommandError("stopped", Exit.refused);
      await state?.remove();
    } catch (error) {
      throw await this.#stoppedBy(error);
    } finally {
      process.off("SIGINT", stop).off("SIGTERM", stop);
      this.#progress.end();
    }
    if (start.line > 1)
      this.#session.streams.err(`harmonydb: went on from line ${start.line} of ${path}\n`);
    const seconds = (performance.now() - startedMs) / 1000;
    this.#session.streams.out(
      this.#session.form === "json"
        ? `{"keys":${this.#keys},"skipped":${this.#skipped},"seconds":${seconds.toFixed(3)}}\n`
        : `loaded ${this.#keys} keys in ${seconds.toFixed(1)} s${this.#skipped > 0 ? `, skipped ${this.#skipped} lines` : ""}\n`,
    );
  }

  /** A directory that cannot be written to is no reason not to load. */
  async #save(state: StateFile): Promise<void> {
    if (!this.#isSaving) return;
    try {
      await state.write(this.#done);
    } catch (error) {
      this.#isSaving = false;
      const reason = error instanceof Error ? error.message : String(error);
      this.#session.streams.err(`harmonydb: --resume will not be possible: ${reason}\n`);
    }
  }

  async #take(line: Line, lineBytesMax: number): Promise<void> {
    try {
      if (line.bytes === null)
        throw new BadLine(
          `it is longer than ${lineBytesMax} bytes; raise --max-line-bytes if it is right`,
        );
      if (line.bytes.length > 0) {
        if (!line.isEnded && this.#flags.format === "tsv")
          throw new BadLine(
            "the file ends within it: it may be cut; end it with a line break if it is whole",
          );
        await this.#add({ line: line.number, record: parseLine(line.bytes, this.#flags.format) });
      }
    } catch (error) {
      if (!(error instanceof BadLine)) throw error;
      await this.#bad(line.number, error.message);
    }
    // The last batch may not be put yet: what is done ends before it.
    if (this.#batch.length === 0) this.#done = { line: line.number + 1, offset: line.end };
    else this.#behindBatch = { line: line.number + 1, offset: line.end };
  }

  async #add(item: Item): Promise<void> {
    const { record } = item;
    const first = this.#batch[0]?.record;
    const bytes = record.key.length + record.value.length;
    const fits =
      this.#batch.length < BATCH_KEYS &&
      this.#batchBytes + bytes <= BATCH_BYTES &&
      (first === undefined || (first.lease === record.lease && first.ttlMs === record.ttlMs));
    if (!fits) await this.#flush();
    this.#batch.push(item);
    this.#batchBytes += bytes;
  }

  async #flush(): Promise<void> {
    const batch = this.#batch;
    const behind = this.#behindBatch;
    if (batch.length === 0) return;
    // Whatever comes of it, nobody puts it another time: a load that goes on begins with it.
    this.#batch = [];
    this.#batchBytes = 0;
    this.#behindBatch = null;
    try {
      await this.#put(batch);
      this.#keys += batch.length;
    } catch (error) {
      // One key of many was refused, so nothing was put: put them one by one and name the one.
      if (!(error instanceof RpcError && error.isOfRequest)) throw error;
      for (const item of batch) {
        try {
          await this.#put([item]);
          this.#keys++;
        } catch (refusal) {
          if (!(refusal instanceof RpcError && refusal.isOfRequest)) throw refusal;
          await this.#bad(item.line, refusal.message);
        }
      }
    }
    if (behind !== null) this.#done = behind;
  }

  /** Sends again what was lost: to put the same again does no harm. */
  async #put(batch: readonly Item[]): Promise<void> {
    const { lease, ttlMs } = (batch[0] as Item).record;
    const request: native.MSetRequest = {
      items: batch.map(({ record: { key, value } }) => ({ key, value })),
      condition: native.MSetRequest_Condition.NONE,
      lease: this.#flags.leases ? (lease ?? 0n) : 0n,
      expiry: ttlMs === null ? undefined : { after_ms: BigInt(ttlMs) },
    };
    for (let attempt = 1; ; attempt++) {
      try {
        await this.#client.unary(MSET, request);
        return;
      } catch (error) {
        if (
          !(error instanceof RpcError && error.isPassing) ||
          attempt === ATTEMPTS ||
          this.#isStopped
        )
          throw error;
        await sleep(100 * 2 ** attempt);
      }
    }
  }

  /** A line that is wrong ends the load, unless such lines are to be skipped. */
  #bad(line: number, reason: string): Promise<void> {
    if (this.#flags.skipBadLines !== true) {
      const goOn = this.#source.state === null ? `--from-line ${line}` : "--resume";
      throw new CommandError(`line ${line} of ${this.#source.path}: ${reason}`, Exit.badInput, [
        `mend the line and go on with ${goOn}, or pass over lines like it with --skip-bad-lines`,
      ]);
    }
    this.#skipped++;
    if (this.#skipped <= SKIPPED_TOLD_MAX) {
      this.#progress.end();
      this.#session.streams.err(`harmonydb: skipped line ${line}: ${reason}\n`);
    }
    return Promise.resolve();
  }

  /** What is said when the load ends early: why, and how to go on. */
  async #stoppedBy(error: unknown): Promise<unknown> {
    const { state, path } = this.#source;
    // What is read and right is put before the load ends, so that the line that is told is the first that is not there.
    let cause = fileEnding(error, path);
    if (cause instanceof CommandError && cause.exit === Exit.badInput) {
      try {
        await this.#flush();
      } catch (earlier) {
        cause = earlier;
      }
    }
    if (state !== null) await this.#save(state);
    if (!(cause instanceof CommandError)) return cause;
    const how =
      state === null || !this.#isSaving
        ? `${this.#keys} keys were loaded; go on with --from-line ${this.#done.line}`
        : `${this.#keys} keys were loaded; go on with --resume, or with --from-line ${this.#done.line}`;
    return new CommandError(cause.message, cause.exit, [...cause.lines, how]);
  }
}

const HEAD_BYTES = 64 * 1024;

/** Tells whether a file is still the one that a load began with: a hash of how it begins. */
async function headOf(path: string): Promise<Uint8Array> {
  const file = await open(path, "r");
  try {
    const head = Buffer.alloc(HEAD_BYTES);
    const { bytesRead } = await file.read(head, 0, HEAD_BYTES, 0);
    return head.subarray(0, bytesRead);
  } finally {
    await file.close();
  }
}

/** FILE.load-state: how far a load got that has not finished. */
class StateFile {
  readonly #path: string;
  readonly #head: Uint8Array;

  constructor(path: string, head: Uint8Array) {
    this.#path = `${path}.load-state`;
    this.#head = head;
  }

  /** The position to go on from; the beginning when no load was stopped. `size` is that of the file now. */
  async read(size: number): Promise<Position> {
    let text: string;
    try {
      text = await readFile(this.#path, "utf8");
    } catch (error) {
      if (error instanceof Error && "code" in error && error.code === "ENOENT")
        return { line: 1, offset: 0 };
      throw error;
    }
    const wrong = (why: string): CommandError =>
      new CommandError(`${this.#path}: ${why}`, Exit.badInput, [
        "delete it to load from the beginning, or name the line with --from-line",
      ]);
    let state: Partial<Record<"line" | "offset" | "headBytes" | "head", unknown>>;
    try {
      state = JSON.parse(text) as typeof state;
    } catch {
      throw wrong("it is no state of a load");
    }
    const { line, offset, headBytes, head } = state ?? {};
    if (
      !isPosition(line, 1) ||
      !isPosition(offset, 0) ||
      !isPosition(headBytes, 0) ||
      headBytes > HEAD_BYTES
    )
      throw wrong("it is no state of a load");
    if (offset > size || hashOf(this.#head.subarray(0, headBytes)) !== head)
      throw wrong("the file is not the one that the load began with");
    return { line, offset };
  }

  /** Of the beginning only what was loaded counts: the line that stopped the load is there to be mended. */
  async write({ line, offset }: Position): Promise<void> {
    const headBytes = Math.min(this.#head.length, offset);
    const head = hashOf(this.#head.subarray(0, headBytes));
    await replaceFile(this.#path, `${JSON.stringify({ line, offset, headBytes, head })}\n`);
  }

  async remove(): Promise<void> {
    await rm(this.#path, { force: true });
  }
}

function isPosition(value: unknown, min: number): value is number {
  return Number.isSafeInteger(value) && (value as number) >= min;
}

function hashOf(bytes: Uint8Array): string {
  return createHash("sha256").update(bytes).digest("hex");
}
