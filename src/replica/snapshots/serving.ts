/**
 * One snapshot on its way to one member that pulls it.
 *
 *     asked? ──ask──▶ opening ──head──▶ sending ──last byte──▶ waiting ──taken──▶ over
 *        └───────────────┴─────────────────┴──────────────────────┴──refused, broken, idle──▶ over
 *
 * What is read from the disk is what the member has room for, and the link, and the allowance of all pulls together.
 */
import { assert, equalBytes, HarmonyError } from "../../base/index.ts";
import { encodePeerFrame, type PeerFrame } from "../../codec/index.ts";
import type { Allowance, Env, Link, Timer } from "../../env/index.ts";
import type { GroupId, LogIndex, NodeId, SnapshotMeta } from "../../raft/index.ts";

/** A snapshot that is open for reading, from its first byte to its last. */
export interface OpenSnapshot {
  readonly meta: SnapshotMeta;
  readonly sizeBytes: number;
  readonly sha256: Uint8Array;
  /** Before the first read: what comes next begins there. */
  skipTo(offset: number): void;
  /** The next bytes, at most `bytesMax`; null at the end. One at a time. */
  read(
    bytesMax: number,
    done: (error: HarmonyError | null, bytes: Uint8Array | null) => void,
  ): void;
  close(): void;
  /** Who pulled it says that it is damaged. */
  distrust(): void;
}

/** Where the snapshots of a node come from. */
export interface SnapshotSource {
  /** A snapshot that ends at `indexAtLeast` or later, from which the log here goes on, and of which `member` is part. */
  open(
    want: { readonly group: GroupId; readonly indexAtLeast: LogIndex; readonly member: NodeId },
    done: (error: HarmonyError | null, snapshot: OpenSnapshot | null) => void,
  ): void;
}

export interface ServingConfig {
  readonly env: Env;
  readonly link: Link;
  readonly member: NodeId;
  readonly source: SnapshotSource;
  readonly allowance: Allowance;
  /** Which group it is about. False: another pull of it by this member goes on. */
  readonly began: (serving: Serving, group: GroupId) => boolean;
  readonly sent: (bytes: number) => void;
  /** Called once. */
  readonly ended: (serving: Serving, end: ServingEnd) => void;
}

export interface ServingEnd {
  /** Null: nothing was asked for. */
  readonly group: GroupId | null;
  readonly isTaken: boolean;
  readonly why: string;
}

const CHUNK_BYTES: number = 256 * 1024;
/** What the link may hold: more would only wait elsewhere. */
const UNSENT_BYTES_MAX: number = 512 * 1024;
/** Nobody who pulls stands still for longer, but who checks what has come may need minutes for a large one. */
const IDLE_MS = 30_000;
const CHECK_MS: number = 15 * 60_000;

export class Serving {
  readonly #config: ServingConfig;
  #state: "asked" | "opening" | "sending" | "waiting" | "over" = "asked";
  #group: GroupId | null = null;
  #snapshot: OpenSnapshot | null = null;
  #isReading = false;
  #offset = 0;
  #room = 0;
  #pause: Timer | null = null;
  #movedMs: number;
  #askedMs = 0;

  constructor(config: ServingConfig) {
    this.#config = config;
    this.#movedMs = config.env.clock.monotonicMs();
  }

  get member(): NodeId {
    return this.#config.member;
  }

  /** When it asked, by the clock that only goes on. */
  get askedMs(): number {
    return this.#askedMs;
  }

  /** Null until it has asked. */
  get group(): GroupId | null {
    return this.#group;
  }

  frame(frame: PeerFrame): void {
    switch (frame.kind) {
      case "ask":
        if (this.#state === "asked") this.#ask(frame);
        else this.end("it speaks out of turn");
        return;
      case "more":
        this.#room += frame.bytes;
        this.#pump();
        return;
      case "taken":
        if (this.#state === "waiting") this.#over(true, "it has come");
        else this.end("it speaks out of turn");
        return;
      case "refusal":
        if (frame.code === "CORRUPT" || frame.code === "NOT_A_SNAPSHOT") this.#snapshot?.distrust();
        this.end(`it is refused: ${frame.code}: ${frame.detail}`);
        return;
      case "batch":
        // Says that its sender is there.
        return;
      case "hello":
      case "welcome":
      case "joinInfo":
      case "head":
      case "chunk":
        this.end("it speaks out of turn");
    }
  }

  drained(): void {
    this.#pump();
  }

  closed(why: string): void {
    this.#over(false, why);
  }

  /** Called every now and then. */
  sweep(): void {
    const stillMs = this.#config.env.clock.monotonicMs() - this.#movedMs;
    // To make a snapshot, or to check one, takes as long as it takes.
    const mostMs = this.#state === "asked" || this.#state === "sending" ? IDLE_MS : CHECK_MS;
    if (stillMs > mostMs) this.end("nothing moves");
  }

  end(why: string): void {
    this.#config.link.close();
    this.#over(false, why);
  }

  #refuse(code: string, detail: string): void {
    this.#config.link.send(encodePeerFrame({ kind: "refusal", code, detail }));
    this.end(code);
  }

  #ask(ask: Extract<PeerFrame, { readonly kind: "ask" }>): void {
    const { source, member, began } = this.#config;
    const { group, indexAtLeast, bytes, has } = ask;
    this.#group = group;
    this.#room = bytes;
    this.#state = "opening";
    this.#moved();
    this.#askedMs = this.#movedMs;
    if (!began(this, group)) {
      this.#refuse("BUSY", "as many pulls as there may be at a time are under way");
      return;
    }
    source.open({ group, indexAtLeast, member }, (error, snapshot) => {
      if (this.#currentState() === "over") {
        snapshot?.close();
        return;
      }
      if (snapshot === null) {
        this.#refuse(error?.code ?? "STOPPED", error?.message ?? "there is none");
        return;
      }
      this.#snapshot = snapshot;
      this.#state = "sending";
      this.#moved();
      const { meta, sizeBytes, sha256 } = snapshot;
      const { index, term } = meta;
      if (has !== null && has.offset < sizeBytes && equalBytes(has.sha256, sha256)) {
        this.#offset = has.offset;
        snapshot.skipTo(has.offset);
      }
      const head = { index, term, sizeBytes, sha256, offset: this.#offset };
      this.#config.link.send(encodePeerFrame({ kind: "head", ...head }));
      this.#pump();
    });
  }

  /** Reads and sends as long as there is room everywhere. */
  #pump(): void {
    const { link, env, allowance } = this.#config;
    const snapshot = this.#snapshot;
    if (this.#state !== "sending" || snapshot === null || this.#isReading) return;
    if (this.#pause !== null || this.#room <= 0 || link.unsentBytes >= UNSENT_BYTES_MAX) return;
    const { waitMs } = allowance;
    if (waitMs > 0) {
      this.#pause = env.timers.after(waitMs, () => {
        this.#pause = null;
        this.#pump();
      });
      return;
    }
    const most = Math.min(CHUNK_BYTES, this.#room);
    allowance.spend(Math.min(most, snapshot.sizeBytes - this.#offset));
    this.#isReading = true;
    snapshot.read(most, (error, data) => {
      this.#isReading = false;
      if (this.#currentState() === "over") return;
      if (data === null) {
        this.#refuse(error?.code ?? "IO", error?.message ?? "the snapshot ended while it was read");
        return;
      }
      this.#sendChunk(snapshot, data);
    });
  }

  #sendChunk({ sizeBytes }: OpenSnapshot, data: Uint8Array): void {
    const { link, sent } = this.#config;
    link.send(encodePeerFrame({ kind: "chunk", offset: this.#offset, data }));
    this.#offset += data.length;
    this.#room -= data.length;
    this.#moved();
    sent(data.length);
    assert(this.#offset <= sizeBytes, "a snapshot is read once");
    if (this.#offset === sizeBytes) this.#state = "waiting";
    else this.#pump();
  }

  #moved(): void {
    this.#movedMs = this.#config.env.clock.monotonicMs();
  }

  #over(isTaken: boolean, why: string): void {
    if (this.#state === "over") return;
    this.#state = "over";
    this.#pause?.cancel();
    this.#snapshot?.close();
    this.#snapshot = null;
    this.#config.ended(this, { group: this.#group, isTaken, why });
  }

  #currentState(): string {
    return this.#state;
  }
}
