/**
 * The simulated disk: names, files, what is durable of both, faults, and what a crash leaves.
 *
 * Nothing here knows of time: `SimFiles` decides when an operation is performed. Until then it is in flight, and a
 * crash may find it done, not done, or done in part. What is durable follows the contract in `files.ts`, at its
 * weakest: a file system that keeps more is a special case that the options can ask for.
 *
 * Invariants: `entries` of every directory name nodes that exist; a node that no name, no durable name, no unsynced
 * change and no handle reaches is gone after the next sweep.
 */
import { assert, compareBytes, crc32c, hash32, Random, utf8, verify } from "../../base/index.ts";
import { FileError, type OpenOptions } from "../files.ts";
import { chooseSurvival, type CrashMode, type DiskSurvival, type Unsynced } from "./crash.ts";
import { Directory } from "./directory.ts";
import { type Fault, FaultRules, type InjectedFault } from "./faults.ts";
import { Inode, KEEPS_NOTHING, SECTOR_BYTES } from "./inode.ts";
import { type InFlight, isChange, type Operation, type OperationResult } from "./operation.ts";

export interface SimDiskOptions {
  readonly seed: number;
  /** Bytes that files may take together; more is ENOSPC. May be changed while it runs. Default: no limit. */
  readonly quotaBytes?: number;
  /** Files that may be open at once; more is EMFILE. Default: no limit. */
  readonly openFilesMax?: number;
  /** This many of 100 writes take fewer bytes than given. Default 0. */
  readonly shortWritePercent?: number;
  /** How long an operation takes, in milliseconds: from, to. Default 0.01 to 0.2. */
  readonly latencyMs?: readonly [number, number];
  /**
   * The friendlier file systems: changes of names go through one journal and survive as a prefix, so a rename between
   * directories happens in both or in none. Default: any subset survives, and after such a rename both names may.
   */
  readonly journaledNames?: boolean;
  /** The friendlier file systems: a synced file that was just created keeps its name. */
  readonly syncKeepsName?: boolean;
}

/** Sees each operation right before it is performed, and right after, before its caller hears of it. */
export type DiskObserver = (
  moment: "before" | "after",
  operation: Operation,
  ordinal: number,
) => void;

const ROOT = 0;

// Streams of decisions: each concern draws from its own, so that one fault more does not shift the others.
const STREAM_LATENCY = 1;
const STREAM_SHORT = 2;
const STREAM_CRASH = 3;
const STREAM_DROP = 4;

export class SimDisk {
  readonly options: SimDiskOptions;
  readonly faults: FaultRules = new FaultRules();
  /** See `SimDiskOptions.quotaBytes`. */
  quotaBytes: number;
  observer: DiskObserver | undefined;
  readonly #nodes = new Map<number, Inode | Directory>();
  /** In the order in which they were asked for. */
  readonly #inFlight: InFlight[] = [];
  readonly #locks = new Set<number>();
  #nextNode = ROOT + 1;
  #issued = 0;
  #performed = 0;
  #openFiles = 0;
  #crashes = 0;
  /** A name went, or a change of names reached the device, since every node was last seen to have a name. */
  #mayHaveOrphans = false;
  readonly #latencyFromMs: number;
  readonly #latencySpanMs: number;

  constructor(options: SimDiskOptions) {
    this.options = options;
    const [from, to] = options.latencyMs ?? [0.01, 0.2];
    this.#latencyFromMs = from;
    this.#latencySpanMs = to - from;
    this.quotaBytes = options.quotaBytes ?? Number.POSITIVE_INFINITY;
    this.#nodes.set(ROOT, new Directory(ROOT));
  }

  /** Operations performed so far. */
  get opCount(): number {
    return this.#performed;
  }

  /** Nothing is in flight, open or locked. */
  get quiet(): boolean {
    return this.#inFlight.length === 0 && this.#openFiles === 0 && this.#locks.size === 0;
  }

  /** Whether a crash now has to decide about an operation that is under way. */
  get changesInFlight(): boolean {
    for (const flight of this.#inFlight) {
      if (flight.rule?.fault.error === undefined && isChange(flight.operation)) return true;
    }
    return false;
  }

  /** Bytes that files take. */
  get usedBytes(): number {
    const named = new Set<number>();
    for (const node of this.#nodes.values())
      if (node instanceof Directory) for (const id of node.entries.values()) named.add(id);
    let used = 0;
    for (const node of this.#nodes.values()) {
      if (node instanceof Inode && (node.openHandles > 0 || named.has(node.id)))
        used += node.cache.allocatedBytes;
    }
    return used;
  }

  inject(fault: Fault): InjectedFault {
    return this.faults.inject(fault);
  }

  /**
   * The same disk again, to crash and read while this one goes on: in flight stays in flight, nothing is open or
   * locked, there are no faults. Costs little until one of the two writes.
   */
  fork(options: Partial<SimDiskOptions> = {}): SimDisk {
    const copy = new SimDisk({ ...this.options, ...options });
    for (const [id, node] of this.#nodes) copy.#nodes.set(id, node.fork());
    for (const { operation, rule, crc } of this.#inFlight) {
      if (rule?.fault.error !== undefined || !isChange(operation)) continue;
      // The caller may use its buffer again when this disk completes the write; the copy must not see that.
      const own =
        operation.kind === "write" ? { ...operation, bytes: operation.bytes.slice() } : operation;
      copy.#inFlight.push({ operation: own, rule: undefined, crc, result: undefined });
    }
    copy.quotaBytes = options.quotaBytes ?? this.quotaBytes;
    copy.#nextNode = this.#nextNode;
    copy.#issued = this.#issued;
    copy.#performed = this.#performed;
    copy.#crashes = this.#crashes;
    copy.#mayHaveOrphans = true;
    return copy;
  }

  /** Takes an operation in: it is under way from now on. */
  issue(operation: Operation): InFlight {
    this.#issued++;
    const rule = this.faults.match(operation.kind, operation.path);
    const crc = operation.kind === "write" ? verifiedCrc(operation.bytes) : 0;
    const flight: InFlight = { operation, rule, crc, result: undefined };
    this.#inFlight.push(flight);
    return flight;
  }

  /** How long the operation taken in last takes, by the seed. */
  latencyMs(): number {
    const drawn = hash32(this.options.seed, STREAM_LATENCY, this.#issued) % 1024;
    return this.#latencyFromMs + (this.#latencySpanMs * drawn) / 1024;
  }

  /** The number of the newest change: what a sync that is asked for now covers. */
  get newestChange(): number {
    return this.#performed;
  }

  /**
   * Performs what `issue` took in and leaves the result there. Throws FileError. The observer may end the `process`:
   * false then, and its caller never hears of the operation.
   */
  perform(flight: InFlight, process: { readonly alive: boolean }): boolean {
    assert(this.#inFlight.includes(flight), "an operation is performed once");
    const { operation, rule, crc } = flight;
    const ordinal = this.#performed + 1;
    this.observer?.("before", operation, ordinal);
    if (!process.alive) return false;
    if (operation.kind === "write")
      assert(
        verifiedCrc(operation.bytes) === crc,
        `bytes of a write to ${operation.path} changed under way`,
      );
    this.#inFlight.splice(this.#inFlight.indexOf(flight), 1);
    this.#performed = ordinal;
    let failure: FileError | undefined;
    try {
      flight.result = this.#perform(operation, rule?.fault);
    } catch (error) {
      if (!(error instanceof FileError)) throw error;
      failure = error;
    }
    this.observer?.("after", operation, ordinal);
    if (!process.alive) return false;
    if (failure !== undefined) throw failure;
    return true;
  }

  /** A read in the call itself: no time passes, but faults strike. */
  readNow(path: string, node: number, offset: number, into: Uint8Array): number {
    const error = this.faults.match("read", path)?.fault.error;
    if (error !== undefined) throw new FileError(error, "read", path);
    return this.#inode(node).cache.read(offset, into);
  }

  /**
   * The process dies, the machine lives: what was written stays visible, durable or not. Each operation in flight is
   * done, not done or, for a write, done in part, by the seed.
   */
  crashProcess(): void {
    const random = this.#crashRandom();
    for (const operation of this.#takeInFlight()) {
      const fate = random.below(3);
      if (fate === 0) continue;
      if (fate === 1 && operation.kind === "write") {
        this.#settle({
          ...operation,
          bytes: operation.bytes.subarray(0, random.below(operation.bytes.length + 1)),
        });
      } else this.#settle(operation);
    }
    this.#closeAll();
  }

  /** The machine dies: durable bytes and names stay, of the rest what `choice` says. */
  losePower(choice: CrashMode | DiskSurvival): void {
    this.settleInFlight();
    const survival =
      typeof choice === "string"
        ? chooseSurvival(
            this.unsynced(),
            choice,
            this.options.journaledNames === true,
            this.#crashRandom(),
          )
        : choice;
    for (const inode of this.#files())
      inode.losePower(survival.files.get(inode.id) ?? KEEPS_NOTHING);
    for (const directory of this.#directories())
      directory.losePower((change) => survival.names.has(change));
    this.#closeAll();
  }

  /** Turns what is in flight into unsynced changes: for a power loss there is no difference. */
  settleInFlight(): void {
    for (const operation of this.#takeInFlight()) this.#settle(operation);
  }

  /** What a power loss could lose, for the enumerator. */
  unsynced(): Unsynced {
    return {
      files: this.#files().filter((inode) => inode.unsynced.length > 0),
      directories: this.#directories().filter((directory) => directory.unsynced.length > 0),
    };
  }

  /** The whole file as a reader sees it. Throws FileError when there is none. */
  contents(path: string): Uint8Array {
    return allOf(this.#file("read", path).cache);
  }

  /** The whole file as the device holds it, whatever names it. */
  durableContents(path: string): Uint8Array {
    return allOf(this.#file("read", path).durable);
  }

  /** Every path that a reader can reach, files and directories, in byte order. */
  paths(): string[] {
    const out: string[] = [];
    const walk = (directory: Directory, prefix: string): void => {
      for (const name of sortedNames(directory)) {
        const node = this.#nodes.get(directory.entries.get(name) as number);
        out.push(prefix + name);
        if (node instanceof Directory) walk(node, `${prefix}${name}/`);
      }
    };
    walk(this.#directory(ROOT), "");
    return out;
  }

  /** A fault at rest: stored bytes change, on the device and for readers. */
  damage(path: string, offset: number, bytes: Uint8Array): void {
    this.#file("write", path).damage(offset, bytes);
  }

  flipBit(path: string, offset: number, bit = 0): void {
    const byte = new Uint8Array(1);
    this.#file("read", path).cache.read(offset, byte);
    byte[0] = (byte[0] as number) ^ (1 << bit);
    this.damage(path, offset, byte);
  }

  /** Zeros the sector that holds `offset`, as far as the file goes. */
  zeroSector(path: string, offset: number): void {
    const start = offset - (offset % SECTOR_BYTES);
    const size = this.#file("read", path).cache.sizeBytes;
    this.damage(path, start, new Uint8Array(Math.min(SECTOR_BYTES, size - start)));
  }

  /** Puts back what `older`, a fork taken before, held there: a write that the device forgot afterwards. */
  makeStale(older: SimDisk, path: string, offset: number, sizeBytes: number): void {
    const bytes = new Uint8Array(sizeBytes);
    older.#file("read", path).cache.readPadded(offset, bytes);
    this.damage(path, offset, bytes);
  }

  /** Copies stored bytes over others: a write that hit a second place. */
  misplace(
    from: string,
    fromOffset: number,
    to: string,
    toOffset: number,
    sizeBytes: number,
  ): void {
    const bytes = new Uint8Array(sizeBytes);
    this.#file("read", from).cache.readPadded(fromOffset, bytes);
    this.damage(to, toOffset, bytes);
  }

  invariants(): void {
    let open = 0;
    for (const node of this.#nodes.values()) {
      if (node instanceof Inode) {
        node.invariants();
        open += node.openHandles;
      } else
        for (const [name, id] of node.entries)
          assert(this.#nodes.has(id), `the name ${name} leads to a node`);
    }
    assert(open === this.#openFiles, "the count of open files is exact");
  }

  #perform(operation: Operation, fault: Fault | undefined): OperationResult {
    const error = fault?.error;
    if (error !== undefined) {
      this.#spoil(operation, error);
      throw new FileError(error, operation.kind, operation.path, "injected");
    }
    switch (operation.kind) {
      case "open":
        return this.#open(operation.path, operation.options);
      case "size":
        return this.#inode(operation.node).cache.sizeBytes;
      case "read":
        return this.#inode(operation.node).cache.read(operation.offset, operation.into);
      case "write":
        return this.#write(operation, fault);
      case "sync":
        this.#sync(operation, fault);
        return undefined;
      case "truncate":
        this.#inode(operation.node).truncate(this.#performed, operation.sizeBytes);
        return undefined;
      case "close":
        this.#close(operation.node);
        return undefined;
      case "rename":
        this.#rename(operation.path, operation.to);
        return undefined;
      case "unlink":
        this.#unlink(operation.path);
        return undefined;
      case "list":
        return sortedNames(this.#directoryAt("list", operation.path));
      case "mkdir":
        this.#mkdir(operation.path);
        return undefined;
      case "syncDir":
        this.#syncDir(operation.path, operation.upTo);
        return undefined;
      case "lock":
        return this.#lock(operation.path);
      case "release":
        this.#locks.delete(this.#directoryAt("release", operation.path).id);
        return undefined;
    }
  }

  #open(path: string, options: OpenOptions): number {
    if (this.#openFiles >= (this.options.openFilesMax ?? Number.POSITIVE_INFINITY))
      throw new FileError("EMFILE", "open", path);
    const { directory, name } = this.#parent("open", path);
    let id = directory.entries.get(name);
    const create = options.create ?? "no";
    if (id !== undefined && create === "exclusive") throw new FileError("EEXIST", "open", path);
    if (id === undefined) {
      if (create === "no") throw new FileError("ENOENT", "open", path);
      id = this.#nextNode++;
      this.#nodes.set(id, new Inode(id));
      directory.change({ ordinal: this.#performed, adds: name, node: id });
    }
    const node = this.#nodes.get(id);
    if (!(node instanceof Inode)) throw new FileError("EISDIR", "open", path);
    node.openHandles++;
    this.#openFiles++;
    return id;
  }

  #write(operation: Operation & { kind: "write" }, fault: Fault | undefined): number {
    const { node, offset, path } = operation;
    const inode = this.#inode(node);
    let bytes = operation.bytes;
    const { seed, shortWritePercent = 0 } = this.options;
    if (fault?.shortBytes !== undefined) bytes = bytes.subarray(0, fault.shortBytes);
    else if (
      bytes.length > 1 &&
      shortWritePercent > 0 &&
      hash32(seed, STREAM_SHORT, this.#performed) % 100 < shortWritePercent
    ) {
      bytes = bytes.subarray(
        0,
        1 + (hash32(seed, STREAM_SHORT + 16, this.#performed) % bytes.length),
      );
    }
    if (this.quotaBytes !== Number.POSITIVE_INFINITY)
      bytes = this.#withinQuota(inode, path, offset, bytes);
    if (fault?.lost === true) inode.writeNowhere(offset, bytes);
    else if (fault?.misdirectedTo !== undefined) {
      inode.writeElsewhere(this.#performed, offset, bytes, fault.misdirectedTo);
      if (operation.durable) inode.sync(this.#performed);
    } else if (operation.durable) inode.writeDurably(this.#performed, offset, bytes);
    else inode.write(this.#performed, offset, bytes);
    return bytes.length;
  }

  /** As a kernel does: what fits is written and counted, and only the call that finds no room at all fails. */
  #withinQuota(inode: Inode, path: string, offset: number, bytes: Uint8Array): Uint8Array {
    let room = this.quotaBytes - this.usedBytes;
    if (inode.cache.growthOf(offset, bytes.length) <= room) return bytes;
    let fits = 0;
    while (fits < bytes.length) {
      const step = Math.min(4096 - ((offset + fits) % 4096), bytes.length - fits);
      const growth = inode.cache.growthOf(offset + fits, step);
      if (growth > room) break;
      room -= growth;
      fits += step;
    }
    if (fits === 0) throw new FileError("ENOSPC", "write", path);
    return bytes.subarray(0, fits);
  }

  #sync(operation: Operation & { kind: "sync" }, fault: Fault | undefined): void {
    const inode = this.#inode(operation.node);
    if (fault?.lost === true) inode.drop(operation.upTo, () => KEEPS_NOTHING);
    else inode.sync(operation.upTo);
    if (this.options.syncKeepsName !== true) return;
    for (const directory of this.#directories()) {
      const named = directory.unsynced.find(
        (change) => change.node === inode.id && change.removes === undefined,
      );
      if (named === undefined) continue;
      directory.sync(named.ordinal, (change) => this.#isBlocked(change));
      this.#mayHaveOrphans = true;
    }
  }

  /**
   * What an operation that failed has done. Of a write or sync any part is on the device and nobody will write the
   * rest, while readers see all of it. After an I/O error a name or a size may have changed or not. Other errors
   * (no room, no permission) say that nothing happened, except to a sync.
   */
  #spoil(operation: Operation, error: string): void {
    const random = new Random(hash32(this.options.seed, STREAM_DROP, this.#performed));
    if (operation.kind === "sync") this.#abandon(operation.node, operation.upTo, random);
    else if (error !== "EIO") return;
    else if (operation.kind === "write") {
      this.#inode(operation.node).write(this.#performed, operation.offset, operation.bytes);
      this.#abandon(operation.node, this.#performed, random);
    } else if (operation.kind !== "open" && isChange(operation) && random.percent(50)) {
      this.#perform(operation, undefined);
    }
  }

  #abandon(node: number, upTo: number, random: Random): void {
    this.#inode(node).drop(upTo, (ops) => ({
      sizeOps: random.below(ops.length + 1),
      keeps: () => random.percent(50),
    }));
  }

  #close(id: number): void {
    const inode = this.#inode(id);
    assert(inode.openHandles > 0, "a file is closed as often as it is opened");
    inode.openHandles--;
    this.#openFiles--;
    if (inode.openHandles === 0 && this.#mayHaveOrphans) this.#sweep();
  }

  #rename(from: string, to: string): void {
    const source = this.#parent("rename", from);
    const target = this.#parent("rename", to);
    const id = source.directory.entries.get(source.name);
    if (id === undefined) throw new FileError("ENOENT", "rename", from);
    const replaced = target.directory.entries.get(target.name);
    if (replaced === id) return;
    const moved = this.#nodes.get(id);
    const over = replaced === undefined ? undefined : this.#nodes.get(replaced);
    if (over instanceof Directory)
      throw new FileError(moved instanceof Directory ? "ENOTEMPTY" : "EISDIR", "rename", to);
    if (moved instanceof Directory) {
      if (over !== undefined) throw new FileError("ENOTDIR", "rename", to);
      if (`${to}/`.startsWith(`${from}/`)) throw new FileError("EINVAL", "rename", to);
    }
    const ordinal = this.#performed;
    this.#mayHaveOrphans = true;
    if (source.directory === target.directory) {
      source.directory.change({ ordinal, removes: source.name, adds: target.name, node: id });
    } else {
      target.directory.change({ ordinal, adds: target.name, node: id });
      source.directory.change({
        ordinal,
        removes: source.name,
        node: id,
        needs: target.directory.id,
      });
    }
  }

  #unlink(path: string): void {
    const { directory, name } = this.#parent("unlink", path);
    const id = directory.entries.get(name);
    if (id === undefined) throw new FileError("ENOENT", "unlink", path);
    if (this.#nodes.get(id) instanceof Directory) throw new FileError("EISDIR", "unlink", path);
    directory.change({ ordinal: this.#performed, removes: name, node: id });
    this.#mayHaveOrphans = true;
  }

  #mkdir(path: string): void {
    const { directory, name } = this.#parent("mkdir", path);
    if (directory.entries.has(name)) throw new FileError("EEXIST", "mkdir", path);
    const id = this.#nextNode++;
    this.#nodes.set(id, new Directory(id));
    directory.change({ ordinal: this.#performed, adds: name, node: id });
  }

  #syncDir(path: string, upTo: number): void {
    const directory = this.#directoryAt("syncDir", path);
    if (directory.unsynced.length === 0) return;
    directory.sync(upTo, (change) => this.#isBlocked(change));
    this.#sweep();
  }

  #isBlocked(change: { readonly ordinal: number; readonly needs?: number }): boolean {
    if (change.needs === undefined) return false;
    const other = this.#nodes.get(change.needs);
    return (
      other instanceof Directory && other.unsynced.some((half) => half.ordinal === change.ordinal)
    );
  }

  #lock(path: string): number {
    const directory = this.#directoryAt("lock", path);
    if (this.#locks.has(directory.id)) throw new FileError("ELOCKED", "lock", path);
    this.#locks.add(directory.id);
    return directory.id;
  }

  /** Performs what was in flight when the crash came: without faults, and nothing of it is durable. */
  #settle(operation: Operation): void {
    try {
      this.#performed++;
      this.#perform(
        operation.kind === "write" ? { ...operation, durable: false } : operation,
        undefined,
      );
    } catch (error) {
      if (!(error instanceof FileError)) throw error;
    }
  }

  #takeInFlight(): Operation[] {
    const changes = this.#inFlight
      .filter((flight) => flight.rule?.fault.error === undefined && isChange(flight.operation))
      .map((flight) => flight.operation);
    this.#inFlight.length = 0;
    return changes;
  }

  #crashRandom(): Random {
    return new Random(hash32(this.options.seed, STREAM_CRASH, ++this.#crashes));
  }

  /** Nobody is left who holds anything. */
  #closeAll(): void {
    this.#inFlight.length = 0;
    this.#locks.clear();
    this.#openFiles = 0;
    for (const inode of this.#files()) inode.openHandles = 0;
    this.#sweep();
  }

  #sweep(): void {
    const reached = new Set<number>([ROOT]);
    const directories = this.#directories();
    for (const directory of directories) {
      for (const id of directory.entries.values()) reached.add(id);
      for (const id of directory.durable.values()) reached.add(id);
    }
    this.#mayHaveOrphans = reached.size < this.#nodes.size;
    if (!this.#mayHaveOrphans) return;
    for (const directory of directories)
      for (const change of directory.unsynced) reached.add(change.node);
    for (const flight of this.#inFlight)
      if ("node" in flight.operation) reached.add(flight.operation.node);
    for (const node of this.#nodes.values()) {
      if (!reached.has(node.id) && !(node instanceof Inode && node.openHandles > 0))
        this.#nodes.delete(node.id);
    }
  }

  #files(): Inode[] {
    const out: Inode[] = [];
    for (const node of this.#nodes.values()) if (node instanceof Inode) out.push(node);
    return out;
  }

  #directories(): Directory[] {
    const out: Directory[] = [];
    for (const node of this.#nodes.values()) if (node instanceof Directory) out.push(node);
    return out;
  }

  #inode(id: number): Inode {
    const node = this.#nodes.get(id);
    assert(node instanceof Inode, "an open file exists");
    return node;
  }

  #directory(id: number): Directory {
    const node = this.#nodes.get(id);
    assert(node instanceof Directory, "a directory on the way exists");
    return node;
  }

  #file(operation: string, path: string): Inode {
    const { directory, name } = this.#parent(operation, path);
    const node = this.#nodes.get(directory.entries.get(name) ?? -1);
    if (node === undefined) throw new FileError("ENOENT", operation, path);
    if (!(node instanceof Inode)) throw new FileError("EISDIR", operation, path);
    return node;
  }

  #directoryAt(operation: string, path: string): Directory {
    return this.#walk(operation, path, parts(path));
  }

  #parent(operation: string, path: string): { directory: Directory; name: string } {
    const slash = path.lastIndexOf("/");
    const last = path.slice(slash + 1);
    if (last !== "" && last !== ".") {
      const names = slash <= 0 ? NO_NAMES : parts(path.slice(0, slash));
      return { directory: this.#walk(operation, path, names), name: last };
    }
    const names = parts(path);
    const name = names.at(-1);
    if (name === undefined) throw new FileError("EEXIST", operation, path);
    return { directory: this.#walk(operation, path, names.slice(0, -1)), name };
  }

  #walk(operation: string, path: string, names: readonly string[]): Directory {
    let directory = this.#directory(ROOT);
    for (const name of names) {
      const id = directory.entries.get(name);
      if (id === undefined) throw new FileError("ENOENT", operation, path);
      const node = this.#nodes.get(id);
      if (!(node instanceof Directory)) throw new FileError("ENOTDIR", operation, path);
      directory = node;
    }
    return directory;
  }
}

/** In a run that verifies, the checksum of what is being written; 0 otherwise. */
function verifiedCrc(bytes: Uint8Array): number {
  let crc = 0;
  verify(() => {
    crc = crc32c(bytes);
  });
  return crc;
}

/** The names in the paths of directories, of which there are few: taken apart once. */
const KNOWN_PARTS = new Map<string, readonly string[]>();
const KNOWN_PARTS_MAX = 256;
const NO_NAMES: readonly string[] = [];

/** Absolute and relative paths are the same here: there is one root and nobody moves from it. */
function parts(path: string): readonly string[] {
  let names = KNOWN_PARTS.get(path);
  if (names !== undefined) return names;
  names = path.split("/").filter((name) => name !== "" && name !== ".");
  if (KNOWN_PARTS.size >= KNOWN_PARTS_MAX) KNOWN_PARTS.clear();
  KNOWN_PARTS.set(path, names);
  return names;
}

function sortedNames(directory: Directory): string[] {
  return Array.from(directory.entries.keys()).toSorted((a, b) => compareBytes(utf8(a), utf8(b)));
}

function allOf(image: {
  readonly sizeBytes: number;
  read(offset: number, into: Uint8Array): number;
}): Uint8Array {
  const out = new Uint8Array(image.sizeBytes);
  image.read(0, out);
  return out;
}
