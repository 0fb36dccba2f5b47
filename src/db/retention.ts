/**
 * How long history is kept, and the compaction that follows from it. The leader remembers which revision the store
 * had at which moment and proposes a compaction like any client's, so replicas never decide by a clock of their own.
 *
 * After a restart the memory begins anew: history may then be kept up to one period longer, never shorter.
 */
export interface RetentionSettings {
  /** Versions younger than this stay readable. 0 turns compaction by age off. */
  readonly retentionMs: number;
  /** At least so many revisions stay readable, whatever their age. */
  readonly retentionRevisions: number;
}

export const DEFAULT_RETENTION: RetentionSettings = Object.freeze({
  retentionMs: 5 * 60_000,
  retentionRevisions: 10_000,
});

const SAMPLES_PER_PERIOD = 10;
const SAMPLE_MS_MIN = 1_000;

export class Retention {
  readonly #settings: RetentionSettings;
  readonly #sampleMs: number;
  #samples: { readonly atMs: number; readonly revision: number }[] = [];

  constructor(settings: RetentionSettings) {
    this.#settings = settings;
    this.#sampleMs = Math.max(SAMPLE_MS_MIN, settings.retentionMs / SAMPLES_PER_PERIOD);
  }

  /** The revision to compact to, or 0 when nothing is due. `nowMs` is monotonic. */
  due(nowMs: number, revision: number, compactRevision: number): number {
    const { retentionMs, retentionRevisions } = this.#settings;
    const byCount = revision - retentionRevisions;
    if (retentionMs === 0) {
      // By count alone: in steps, or every write would bring a compaction of its own.
      const step = Math.max(1, Math.floor(retentionRevisions / SAMPLES_PER_PERIOD));
      return retentionRevisions > 0 && byCount >= compactRevision + step ? byCount : 0;
    }
    const last = this.#samples[this.#samples.length - 1];
    if (last === undefined || nowMs - last.atMs >= this.#sampleMs)
      this.#samples.push({ atMs: nowMs, revision });
    let byAge = 0;
    let old = 0;
    for (const sample of this.#samples) {
      if (nowMs - sample.atMs < retentionMs) break;
      byAge = sample.revision;
      old++;
    }
    if (old > 1) this.#samples = this.#samples.slice(old - 1);
    const target = Math.min(byAge, byCount);
    return target > compactRevision ? target : 0;
  }
}
