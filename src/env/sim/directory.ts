/**
 * One simulated directory: the names that a reader sees, the names on the device, and the changes in between.
 *
 * A rename between two directories is two changes with one ordinal: the new name in the one, the end of the old name
 * in the other. The old name never goes before the new one is there, but both may be found after a power loss.
 */
export interface DirectoryChange {
  readonly ordinal: number;
  readonly removes?: string;
  readonly adds?: string;
  /** What `adds` names. */
  readonly node: number;
  /** The directory whose change of the same ordinal has to be durable before this one. */
  readonly needs?: Directory["id"];
}

export class Directory {
  readonly id: number;
  entries: Map<string, number>;
  durable: Map<string, number>;
  unsynced: DirectoryChange[];

  constructor(
    id: number,
    entries: Map<string, number> = new Map(),
    durable: Map<string, number> = new Map(),
    unsynced: DirectoryChange[] = [],
  ) {
    this.id = id;
    this.entries = entries;
    this.durable = durable;
    this.unsynced = unsynced;
  }

  fork(): Directory {
    return new Directory(
      this.id,
      new Map(this.entries),
      new Map(this.durable),
      this.unsynced.slice(),
    );
  }

  change(change: DirectoryChange): void {
    applyChange(this.entries, change);
    this.unsynced.push(change);
  }

  /** Makes the changes up to `ordinal` durable; those that `blocked` names stay until what they need is. */
  sync(ordinal: number, blocked: (change: DirectoryChange) => boolean): void {
    const waiting: DirectoryChange[] = [];
    const rest: DirectoryChange[] = [];
    for (const change of this.unsynced) {
      if (change.ordinal > ordinal) rest.push(change);
      else if (blocked(change)) waiting.push(change);
      else {
        applyChange(this.durable, change);
        // A name that was used again has forgotten the older change that still waited.
        for (let i = waiting.length - 1; i >= 0; i--)
          if (touches(change, waiting[i]?.removes)) waiting.splice(i, 1);
      }
    }
    this.unsynced = [...waiting, ...rest];
  }

  /** The power fails: of the unsynced changes those that `keeps` names have happened, in their order. */
  losePower(keeps: (change: DirectoryChange) => boolean): void {
    for (const change of this.unsynced) if (keeps(change)) applyChange(this.durable, change);
    this.unsynced = [];
    this.entries = new Map(this.durable);
  }
}

function applyChange(names: Map<string, number>, change: DirectoryChange): void {
  if (change.removes !== undefined) names.delete(change.removes);
  if (change.adds !== undefined) names.set(change.adds, change.node);
}

function touches(change: DirectoryChange, name: string | undefined): boolean {
  return name !== undefined && (change.adds === name || change.removes === name);
}
