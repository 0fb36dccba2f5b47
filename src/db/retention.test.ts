import { describe, expect, it } from "vitest";
import { Retention } from "./retention.ts";

const MINUTE = 60_000;

describe("how long history is kept", () => {
  it("compacts to what is older than the period, and keeps at least so many revisions", () => {
    const retention = new Retention({ retentionMs: 5 * MINUTE, retentionRevisions: 100 });
    let compacted = 0;
    const seen: [number, number][] = [];
    for (let second = 0; second <= 20 * 60; second++) {
      const revision = 1 + second;
      const due = retention.due(second * 1000, revision, compacted);
      if (due === 0) continue;
      expect(due).toBeGreaterThan(compacted);
      // A revision that is given up is at least a period old: revision r was reached at second r - 1.
      expect(second - (due - 1)).toBeGreaterThanOrEqual(5 * 60);
      expect(revision - due).toBeGreaterThanOrEqual(100);
      compacted = due;
      seen.push([second, due]);
    }
    expect(seen.length).toBeGreaterThan(20);
    expect(compacted).toBeGreaterThan(20 * 60 - 5 * 60 - 40);
  });

  it("keeps the given number of revisions however old they are", () => {
    const retention = new Retention({ retentionMs: MINUTE, retentionRevisions: 1_000 });
    for (let minute = 0; minute < 60; minute++)
      expect(retention.due(minute * MINUTE, 500, 0)).toBe(0);
  });

  it("compacts by count alone when no period is set, in steps and not with every write", () => {
    const retention = new Retention({ retentionMs: 0, retentionRevisions: 1_000 });
    const dues: number[] = [];
    let compacted = 0;
    for (let revision = 1; revision <= 3_000; revision++) {
      const due = retention.due(0, revision, compacted);
      if (due > 0) {
        expect(revision - due).toBe(1_000);
        dues.push(due);
        compacted = due;
      }
    }
    expect(dues.length).toBe(20);
  });

  it("never compacts when both are off", () => {
    const retention = new Retention({ retentionMs: 0, retentionRevisions: 0 });
    for (let i = 0; i < 100; i++) expect(retention.due(i * MINUTE, i * 100_000, 0)).toBe(0);
  });

  it("does not gather samples without end", () => {
    const retention = new Retention({ retentionMs: 10_000, retentionRevisions: 0 });
    let compacted = 0;
    for (let ms = 0; ms < 3_600_000; ms += 100) {
      const due = retention.due(ms, 1 + ms, compacted);
      if (due > 0) compacted = due;
    }
    expect(3_600_000 - compacted).toBeLessThan(12_000);
  });
});
