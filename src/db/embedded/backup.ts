/** A snapshot that somebody reads in process. */
import type { SnapshotReader } from "../snapshots.ts";
import type { Backup } from "./api-database.ts";
import type { Link } from "./link.ts";

const PIECE_BYTES: number = 64 * 1024;

export class SnapshotBackup implements Backup {
  readonly rev: number;
  readonly sizeBytes: number;
  readonly sha256: Uint8Array;
  readonly #reader: SnapshotReader;
  readonly #link: Link;

  constructor(reader: SnapshotReader, link: Link) {
    const { record, revision } = reader.made;
    this.rev = revision;
    this.sizeBytes = record.sizeBytes;
    this.sha256 = record.sha256.slice();
    this.#reader = reader;
    this.#link = link;
  }

  async *[Symbol.asyncIterator](): AsyncIterator<Uint8Array> {
    try {
      for (;;) {
        if (this.#link.ended !== null) throw this.#link.ended;
        const piece = await this.#next();
        if (piece === null) return;
        yield piece;
      }
    } finally {
      this.#reader.close();
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#reader.close();
  }

  #next(): Promise<Uint8Array | null> {
    return new Promise((resolve, reject) => {
      this.#reader.read(PIECE_BYTES, (error, piece) => {
        if (error === null) resolve(piece);
        else reject(error);
      });
    });
  }
}
