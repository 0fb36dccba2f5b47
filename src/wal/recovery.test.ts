import { describe, expect, it } from "vitest";
import { CorruptionError, HarmonyError, setVerifying } from "../base/index.ts";
import { FileError } from "../env/index.ts";
import { alignUp } from "./format.ts";
import { placeFrame, readFrameHeader } from "./frame.ts";
import { inspectWal, verifyWal, Wal, WalCorruptionError, type WalItem } from "./index.ts";
import { decodeSegmentHeader, segmentName } from "./segment.ts";
import { batch, IDENTITY, Lab, matchingState } from "./testing/lab.ts";

setVerifying(true);

describe("what the sources ask for by name", () => {
  it("WAL recovery: single node", () => {
    const lab = new Lab(1);
    const wal = lab.create();
    lab.append(wal, [batch(0, 1, 1, 1, { term: 1, vote: 7, commit: 1 })]);
    lab.kill();
    const { wal: again, recovery } = lab.open();
    expect(lab.matching(again)).toBe(1);
    expect(recovery).toMatchObject({ entriesFound: 1, unclean: true, tornBytesCut: 0 });
  });

  it("WAL recovery: multiple entries", () => {
    const lab = new Lab(2);
    const wal = lab.create();
    for (let i = 1; i <= 300; i += 3)
      lab.append(wal, [batch(0, 1, i, i + 2, { term: 1, vote: 7, commit: i })]);
    lab.losePower("lose-all");
    const { wal: again, recovery } = lab.open();
    expect(lab.matching(again)).toBe(100);
    expect(recovery.entriesFound).toBe(300);
    expect(recovery.segmentsScanned).toBeGreaterThan(5);
  });

  it("WAL recovery: with overwrites", () => {
    const lab = new Lab(3);
    const wal = lab.create();
    lab.append(wal, [batch(0, 1, 1, 9, { term: 1, vote: 7, commit: 3 })]);
    lab.append(wal, [batch(0, 2, 5, 7)]);
    lab.append(wal, [batch(0, 3, 4, 4), batch(1, 1, 1, 2)]);
    lab.append(wal, [batch(0, 3, 5, 6)]);
    lab.losePower("lose-all");
    const { wal: again } = lab.open();
    expect(lab.matching(again)).toBe(4);
    const log = again.groupLog(0);
    expect(log.entries(1, 7, 1e6).map((entry) => entry.term)).toEqual([1, 1, 1, 3, 3, 3]);
  });

  it("WAL recovery: with corruption", () => {
    const { lab, files } = threeFrames();
    lab.machine.disk.flipBit(files.path, files.offsets[0] as number, 3);
    const error = refusal(() => lab.open());
    expect(error).toBeInstanceOf(WalCorruptionError);
    expect(error).toMatchObject({
      code: "CORRUPT",
      damage: { file: files.path, offset: files.offsets[0] },
    });
    expect((error as Error).message).toContain(`${files.path} at offset ${files.offsets[0]}`);
  });
});

describe("the tail", () => {
  it("D1: every subset of the sectors of a torn write is cut, or the write is whole", () => {
    const lab = new Lab(4, { segmentSizeBytes: 8192 });
    const wal = lab.create();
    lab.append(wal, [batch(0, 1, 1, 1)]);
    lab.submit(wal, [batch(0, 1, 2, 6, null, 480)]);
    let images = 0;
    let cut = 0;
    const shown = new Set<number>();
    for (const image of lab.machine.crashImages({ limit: 4096 })) {
      images++;
      const env = image.boot();
      const { wal: again, recovery } = lab.runOn(image, Wal.open(env, lab.options, IDENTITY, []));
      shown.add(matchingState(again, lab.states, 1, []));
      if (recovery.tornBytesCut > 0) cut++;
      const report = lab.runOn(image, verifyWal(env.files, lab.options.directory));
      expect(report).toMatchObject({ tornBytes: 0, damage: [] });
    }
    expect(images).toBe(2 ** 6);
    expect(shown).toEqual(new Set([1, 2]));
    expect(cut).toBe(2 ** 6 - 2);
  });

  it("D2: what was not synced may be gone, names and sizes included", () => {
    const lab = new Lab(5);
    const wal = lab.create();
    for (let i = 1; i <= 9; i++) lab.append(wal, [batch(0, 1, i, i, null, 700)]);
    lab.submit(wal, [batch(0, 1, 10, 10, null, 700)]);
    lab.losePower("lose-all");
    expect(lab.matching(lab.open().wal)).toBe(9);
  });

  it("D3: of two unsynced frames of which the later one alone is on disk, both are cut", () => {
    const { lab, files } = threeFrames();
    const bytes = lab.machine.disk.contents(files.path);
    const [, second = 0, third = 0] = files.offsets;
    const header = decodeSegmentHeader(bytes.slice(0, 512), files.path);
    const frame = readFrameHeader(bytes, third, header.firstLsn + third, header.crc);
    // As an unsynced writer leaves it: the third frame was written before the sync of the second one had returned.
    placeFrame(bytes, third, {
      lsn: header.firstLsn + third,
      durableLsn: header.firstLsn + second,
      previousCrc: frame?.previousCrc ?? 0,
      seed: header.crc,
    });
    bytes.fill(0, second, third);
    lab.machine.disk.damage(files.path, 0, bytes);
    const { wal, recovery } = lab.open();
    expect(matchingState(wal, lab.states, 0, [])).toBe(1);
    expect(recovery.tornBytesCut).toBeGreaterThan(0);
  });

  it("D7: frames that once stood at another place or in another segment are not joined to the chain", () => {
    const { lab, files } = threeFrames({ markAfterMs: 1e9 });
    const bytes = lab.machine.disk.contents(files.path);
    const [first = 0, second = 0] = files.offsets;
    const frame = bytes.slice(first, second);
    // Behind the tail: an old frame, and one whose LSN fits but whose segment is another one.
    lab.machine.disk.damage(files.path, files.end, frame);
    const moved = frame.slice();
    placeFrame(moved, 0, {
      lsn: files.end + frame.length,
      durableLsn: files.end,
      previousCrc: 1,
      seed: 12345,
    });
    lab.machine.disk.damage(files.path, files.end + frame.length, moved);
    const { wal, recovery } = lab.open();
    expect(lab.matching(wal)).toBe(3);
    expect(recovery.tornBytesCut).toBeGreaterThan(0);
  });

  it("D10: what a killed process left visible but not durable is written again before it counts", () => {
    const lab = new Lab(6);
    const wal = lab.create();
    lab.append(wal, [batch(0, 1, 1, 1)]);
    // The device loses the write and says so; readers of the page cache see it.
    lab.machine.disk.inject({ operation: "write", error: "EIO" });
    const outcome = lab.submit(wal, [batch(0, 1, 2, 2, { term: 1, vote: 7, commit: 2 })]);
    lab.wait(() => outcome.error !== undefined);
    expect(outcome.error).toMatchObject({ code: "STOPPED", maybeApplied: true });
    lab.kill();
    const { wal: again, recovery } = lab.open();
    const shown = lab.matching(again);
    expect(recovery).toMatchObject({ unclean: true });
    lab.losePower("lose-all");
    expect(lab.matching(lab.open().wal)).toBe(shown);
    expect(shown).toBe(2);
  });

  it("restarts do not pile up segments", () => {
    const lab = new Lab(7);
    let wal = lab.create();
    for (let i = 1; i <= 20; i++) {
      if (i % 2 === 0) lab.append(wal, [batch(0, 1, i / 2, i / 2)]);
      if (i % 3 === 0) lab.run(wal.close());
      lab.kill();
      ({ wal } = lab.open());
    }
    expect(lab.matching(wal)).toBe(10);
    // Ten frames of one sector each in segments of seven usable ones, rewritten while they are at most half full.
    expect(wal.stats.segments).toBeLessThanOrEqual(6);
  });

  it("an empty log, opened again and again, stays one segment", () => {
    const lab = new Lab(8);
    lab.create();
    for (let i = 0; i < 5; i++) {
      lab.kill();
      const { wal, recovery } = lab.open();
      expect(recovery).toMatchObject({ entriesFound: 0, unclean: false, tornBytesCut: 0 });
      expect(wal.stats.segments).toBe(1);
    }
  });

  it("knows a log that was closed in order, and one that had gone idle", () => {
    for (const end of ["close", "idle"] as const) {
      const lab = new Lab(9);
      const wal = lab.create();
      lab.append(wal, [batch(0, 1, 1, 9, null, 300)]);
      if (end === "close") lab.run(wal.close());
      else lab.idle(1200);
      lab.losePower("lose-all");
      const { wal: again, recovery } = lab.open();
      expect(lab.matching(again)).toBe(1);
      expect(recovery).toMatchObject({ unclean: false, tornBytesCut: 0 });
    }
  });
});

describe("damage to what was proven", () => {
  it("D4: in the middle of the last segment it is refused with file, offset and groups, and nothing is changed", () => {
    const { lab, files } = threeFrames();
    const offset = files.offsets[1] as number;
    const clean = lab.machine.disk.contents(files.path);
    const damages: [string, () => void, "all groups" | object][] = [
      [
        "a bit of the payload",
        () => lab.machine.disk.flipBit(files.path, offset + 200, 1),
        [{ group: 0, firstIndex: 2, lastIndex: 2, term: 1 }],
      ],
      [
        "a bit of the header",
        () => lab.machine.disk.flipBit(files.path, offset + 10, 1),
        "all groups",
      ],
      [
        "a bit of the group table",
        () => lab.machine.disk.flipBit(files.path, offset + 100, 1),
        "all groups",
      ],
      ["a zeroed sector", () => lab.machine.disk.zeroSector(files.path, offset), "all groups"],
      [
        "a zeroed length",
        () => lab.machine.disk.damage(files.path, offset + 24, new Uint8Array(4)),
        "all groups",
      ],
    ];
    for (const [what, damage, lost] of damages) {
      lab.machine.disk.damage(files.path, 0, clean);
      damage();
      const before = lab.machine.disk.contents(files.path);
      const error = refusal(() => lab.open());
      expect(error, what).toBeInstanceOf(WalCorruptionError);
      expect((error as WalCorruptionError).damage, what).toMatchObject({
        file: files.path,
        offset,
      });
      expect((error as WalCorruptionError).lost, what).toEqual(lost);
      expect(lab.machine.disk.contents(files.path), what).toEqual(before);
      lab.kill();
    }
    lab.machine.disk.damage(files.path, 0, clean);
    expect(lab.matching(lab.open().wal)).toBe(3);
  });

  it("D5: in a sealed segment it is refused; a damaged footer alone is reported and written anew", () => {
    const lab = new Lab(10);
    const wal = lab.create();
    for (let i = 1; i <= 20; i++) lab.append(wal, [batch(0, 1, i, i, null, 300)]);
    lab.kill();
    const items = look(lab);
    const sealed = items.find((item) => item.kind === "footer");
    if (sealed?.kind !== "footer") throw new Error("no segment is sealed");
    const clean = lab.machine.disk.contents(sealed.file);
    lab.machine.disk.flipBit(sealed.file, sealed.offset - 512 + 130);
    expect(refusal(() => lab.open())).toMatchObject({
      code: "CORRUPT",
      damage: { file: sealed.file },
    });
    lab.kill();
    lab.machine.disk.damage(sealed.file, 0, clean);
    lab.machine.disk.zeroSector(sealed.file, sealed.offset);
    const { wal: again, recovery } = lab.open();
    expect(lab.matching(again)).toBe(20);
    expect(recovery.damagedRanges).toMatchObject([{ file: sealed.file, offset: sealed.offset }]);
    lab.kill();
    expect(lab.open().recovery.damagedRanges).toEqual([]);
  });

  it("D6: a segment that is missing, doubled, swapped or foreign is refused by name", () => {
    const make = (): { lab: Lab; names: string[] } => {
      const lab = new Lab(11);
      const wal = lab.create();
      for (let i = 1; i <= 30; i++) lab.append(wal, [batch(0, 1, i, i, null, 300)]);
      lab.run(wal.close());
      lab.kill();
      return { lab, names: segmentPaths(lab) };
    };
    const count = make().names.length;
    expect(count).toBeGreaterThan(4);
    for (let i = 0; i < count; i++) {
      const { lab, names } = make();
      lab.unlink(names[i] as string);
      const error = refusal(() => lab.open());
      // The last one can only be missed where something else proves that it was there.
      expect(error, `segment ${i} is missing`).toMatchObject({ code: "CORRUPT" });
    }
    {
      const { lab, names } = make();
      copy(lab, names[1] as string, `${lab.options.directory}/wal/${segmentName(2, 512)}`);
      expect(refusal(() => lab.open())).toMatchObject({ code: "CORRUPT" });
    }
    {
      const { lab, names } = make();
      const [a, b] = [
        lab.machine.disk.contents(names[1] as string),
        lab.machine.disk.contents(names[2] as string),
      ];
      lab.machine.disk.damage(names[1] as string, 0, b);
      lab.machine.disk.damage(names[2] as string, 0, a);
      expect(refusal(() => lab.open())).toMatchObject({ code: "CORRUPT" });
    }
    {
      const { lab, names } = make();
      const other = make();
      const bytes = foreignCopy(other.lab, names[2] as string);
      lab.machine.disk.damage(names[2] as string, 0, bytes);
      expect(refusal(() => lab.open())).toMatchObject({ code: "WRONG_CLUSTER" });
    }
    {
      const { lab, names } = make();
      copy(lab, names[0] as string, `${lab.options.directory}/wal/stray.wal`);
      expect(refusal(() => lab.open())).toMatchObject({ code: "CORRUPT" });
    }
  });

  it("D15: a valid frame of another history, in the place of a proven one, is refused by the chain", () => {
    // Two runs of one seed that part at the third append: their segments are the same, their frames there are not.
    const history = (data: number, count: number): Lab => {
      const lab = new Lab(21, { segmentSizeBytes: 4096 });
      const wal = lab.create();
      for (let i = 1; i <= count; i++) {
        lab.append(wal, [batch(0, 1, i, i, null, i === data ? 100 : 60)]);
      }
      lab.kill();
      return lab;
    };
    // One frame in the middle of the last segment, and the last frame of a sealed one.
    for (const [number, count] of [
      [3, 4],
      [6, 12],
    ] as const) {
      const lab = history(0, count);
      const other = history(number, count);
      const frames = look(lab).filter((item) => item.kind === "frame");
      const frame = frames[number - 1];
      if (frame?.kind !== "frame") throw new Error("a frame was expected");
      const stale = other.machine.disk.contents(frame.file);
      const ours = lab.machine.disk.contents(frame.file);
      const place = stale.subarray(frame.offset, frame.offset + frame.frameBytes);
      expect(place).not.toEqual(ours.subarray(frame.offset, frame.offset + frame.frameBytes));
      lab.machine.disk.damage(frame.file, frame.offset, place);
      expect(refusal(() => lab.open())).toMatchObject({
        code: "CORRUPT",
        damage: { file: frame.file, offset: frame.offset + frame.frameBytes },
      });
    }
  });

  it("D33: a log of another cluster or member is refused by name", () => {
    const { lab } = threeFrames();
    const clusterId = IDENTITY.clusterId.slice();
    clusterId[0] = 99;
    for (const expected of [{ clusterId }, { memberId: 8 }]) {
      expect(refusal(() => lab.run(Wal.open(lab.env, lab.options, expected, [])))).toMatchObject({
        code: "WRONG_CLUSTER",
      });
      lab.kill();
    }
  });

  it("a newer format is not called damage", () => {
    const { lab, files } = threeFrames();
    const header = lab.machine.disk.contents(files.path).slice(0, 512);
    header[8] = 2;
    // A newer program seals its preamble with the same checksum.
    const view = new DataView(header.buffer);
    view.setUint32(12, crcOf(header.subarray(0, 12)), true);
    lab.machine.disk.damage(files.path, 0, header);
    expect(refusal(() => lab.open())).toMatchObject({ code: "NEWER_FORMAT" });
  });

  it("damage below every older checkpoint costs nothing: it is reported, and the log opens", () => {
    const damaged = (number: number): { lab: Lab; file: string; offset: number } => {
      const lab = new Lab(12, { segmentSizeBytes: 65536 });
      const wal = lab.create();
      for (let i = 1; i <= 10; i++)
        lab.append(wal, [batch(0, 1, i, i, { term: 1, vote: 7, commit: i }, 300)]);
      lab.release(wal, 0, 6);
      lab.release(wal, 0, 8);
      lab.kill();
      const frame = look(lab).filter((item) => item.kind === "frame")[number];
      if (frame?.kind !== "frame") throw new Error("a frame was expected");
      lab.machine.disk.flipBit(frame.file, frame.offset + 400);
      return { lab, file: frame.file, offset: frame.offset };
    };
    const { lab, file, offset } = damaged(2);
    for (let round = 0; round < 2; round++) {
      const { wal: again, recovery } = lab.open();
      expect(lab.matching(again)).toBe(10);
      expect(again.groupLog(0).firstIndex()).toBe(4);
      expect(recovery.damagedRanges).toMatchObject([{ file, offset }]);
      lab.kill();
    }
    expect(refusal(() => damaged(7).lab.open())).toMatchObject({ code: "CORRUPT" });
  });

  it("D35: what a reused buffer held before never reaches the disk", () => {
    const lab = new Lab(13, { segmentSizeBytes: 65536 });
    const wal = lab.create();
    lab.append(wal, [batch(0, 1, 1, 1, null, 3000)]);
    lab.append(wal, [batch(0, 1, 2, 2)]);
    lab.append(wal, [batch(0, 1, 3, 3)]);
    const frame = look(lab).filter((item) => item.kind === "frame")[2];
    if (frame?.kind !== "frame") throw new Error("a frame was expected");
    expect(frame.frameBytes).toBe(512);
    const payloadEnd = 96 + 32 + 12 + 16 + 16 + "1.3".length;
    const padding = lab.machine.disk
      .contents(frame.file)
      .subarray(frame.offset + payloadEnd, frame.offset + 512);
    expect(padding.every((byte) => byte === 0)).toBe(true);
    expect(alignUp(payloadEnd)).toBe(512);
  });
});

describe("the manifest", () => {
  function rolled(): Lab {
    const lab = new Lab(14);
    const wal = lab.create();
    for (let i = 1; i <= 24; i++) {
      lab.append(wal, [batch(0, 1, i, i, { term: 1, vote: 7, commit: i }, 600)]);
      if (i % 6 === 0) lab.release(wal, 0, i);
    }
    lab.run(wal.close());
    lab.kill();
    return lab;
  }
  const path = "data/MANIFEST";

  it("D21: a missing one is rebuilt from the log and the data files", () => {
    const lab = rolled();
    lab.unlink(path);
    expect(lab.matching(lab.open().wal)).toBe(24);
    expect(lab.machine.disk.paths()).toContain(path);
    lab.kill();
    expect(lab.run(verifyWal(lab.env.files, "data"))).toMatchObject({ manifest: "ok", damage: [] });
  });

  it("D21: without it, a log that begins after what the data files hold is refused", () => {
    const lab = rolled();
    lab.unlink(path);
    lab.starts = [{ group: 0, appliedIndex: 12, appliedTerm: 1, olderAppliedIndex: 6 }];
    expect(refusal(() => lab.open())).toMatchObject({ code: "CORRUPT" });
  });

  it("D22: an older one is harmless", () => {
    const lab = new Lab(15);
    const wal = lab.create();
    const older = lab.machine.disk.contents(path);
    for (let i = 1; i <= 12; i++)
      lab.append(wal, [batch(0, 1, i, i, { term: 1, vote: 7, commit: i }, 600)]);
    lab.starts = [{ group: 0, appliedIndex: 8, appliedTerm: 1, olderAppliedIndex: 0 }];
    lab.kill();
    lab.unlink(path);
    lab.writeFile(path, older);
    expect(lab.matching(lab.open().wal)).toBe(12);
  });

  it("D23: one that knows more than the log holds is refused", () => {
    const lab = rolled();
    const names = segmentPaths(lab);
    lab.unlink(names[names.length - 1] as string);
    expect(refusal(() => lab.open())).toMatchObject({ code: "CORRUPT" });
  });

  it("D24: one with any flipped bit is rebuilt", () => {
    const lab = rolled();
    const clean = lab.machine.disk.contents(path);
    for (let offset = 0; offset < clean.length; offset += 7) {
      lab.machine.disk.damage(path, 0, clean);
      lab.machine.disk.flipBit(path, offset, offset % 8);
      expect(lab.matching(lab.open().wal), `bit in byte ${offset}`).toBe(24);
      lab.kill();
    }
  });

  it("D25: an idle group's vote survives the removal of the segment that holds its record", () => {
    const lab = new Lab(16);
    const wal = lab.create();
    lab.append(wal, [{ group: 3, entries: [], hardState: { term: 9, vote: 2, commit: 0 } }]);
    for (let i = 1; i <= 40; i++) {
      lab.append(wal, [batch(0, 1, i, i, { term: 1, vote: 7, commit: i }, 600)]);
      if (i % 5 === 0) lab.release(wal, 0, i);
    }
    expect(segmentPaths(lab).every((name) => !name.includes("0000000000000001-"))).toBe(true);
    lab.losePower("lose-all");
    const { wal: again } = lab.open();
    expect(lab.matching(again)).toBe(41);
    expect(again.hardState(3)).toEqual({ term: 9, vote: 2, commit: 0 });
  });

  it("D26: the manifest is durable before a segment goes", () => {
    const lab = new Lab(17);
    const wal = lab.create();
    for (let i = 1; i <= 12; i++)
      lab.append(wal, [batch(0, 1, i, i, { term: 1, vote: 7, commit: i }, 600)]);
    const trace: string[] = [];
    lab.machine.disk.observer = (moment, operation): void => {
      if (moment === "after") trace.push(`${operation.kind} ${operation.path}`);
    };
    lab.release(wal, 0, 6);
    lab.release(wal, 0, 12);
    const renamed = trace.lastIndexOf("rename data/tmp/MANIFEST");
    const synced = trace.indexOf("syncDir data", renamed);
    const removed = trace.findIndex((line) => line.startsWith("unlink data/wal/"));
    expect(trace.lastIndexOf("sync data/tmp/MANIFEST", renamed)).toBeGreaterThanOrEqual(0);
    expect(renamed).toBeGreaterThan(0);
    expect(synced).toBeGreaterThan(renamed);
    expect(removed).toBeGreaterThan(synced);
  });

  it("D26: segments go one after the other, so that no power loss leaves a gap", () => {
    const lab = new Lab(17);
    const wal = lab.create();
    for (let i = 1; i <= 30; i++)
      lab.append(wal, [batch(0, 1, i, i, { term: 1, vote: 7, commit: i }, 900)]);
    const trace: string[] = [];
    lab.machine.disk.observer = (moment, operation): void => {
      if (moment === "after" && /data\/wal/.test(operation.path))
        trace.push(`${operation.kind} ${operation.path}`);
    };
    lab.release(wal, 0, 15);
    lab.release(wal, 0, 30);
    const order = trace.filter((line) => /^(?:unlink|syncDir) /.test(line));
    const removed = order.filter((line) => line.startsWith("unlink"));
    expect(removed.length).toBeGreaterThan(2);
    expect(removed).toEqual(removed.toSorted());
    expect(order).toEqual(removed.flatMap((line) => [line, "syncDir data/wal"]));
  });
});

describe("failures of the disk", () => {
  it("D9: after any failed operation on the log nothing is written, retried or acknowledged", () => {
    const kinds = ["write", "rename", "syncDir", "sync"] as const;
    for (const kind of kinds) {
      for (let skip = 0; skip < 6; skip++) {
        const lab = new Lab(18);
        const wal = lab.create();
        const fault = lab.machine.disk.inject({
          operation: kind,
          path: (path) => !path.endsWith("VOTE"),
          skip,
          error: "EIO",
        });
        const failures: unknown[] = [];
        wal.onFailed = (error) => failures.push(error);
        for (let i = 1; i <= 12 && wal.failed === null; i++) {
          const outcome = lab.submit(wal, [
            batch(0, 1, i, i, { term: 1, vote: 7, commit: i }, 600),
          ]);
          lab.wait(() => outcome.error !== undefined);
          if (i === 6 && wal.failed === null) releaseQuietly(lab, wal, i);
        }
        lab.idle(20);
        if (fault.struck === 0) continue;
        expect(failures, `${kind} ${skip}`).toHaveLength(1);
        const written = lab.machine.disk.opCount;
        const late = lab.submit(wal, [batch(0, 1, 99, 99)]);
        lab.states.pop();
        lab.wait(() => late.error !== undefined);
        expect(late.error).toMatchObject({ code: "STOPPED" });
        lab.idle(5000);
        expect(
          lab.machine.disk.opCount - written,
          `${kind} ${skip}: operations after the failure`,
        ).toBeLessThanOrEqual(1);
        lab.losePower("mixed");
        lab.matching(lab.open().wal);
      }
    }
  });

  it("D12: short writes are continued", () => {
    const lab = new Lab(19, {}, { disk: { shortWritePercent: 70 } });
    const wal = lab.create();
    for (let i = 1; i <= 20; i++)
      lab.append(wal, [batch(0, 1, i, i, { term: 1, vote: 7, commit: i }, 500)]);
    lab.release(wal, 0, 15);
    lab.losePower("lose-all");
    expect(lab.matching(lab.open().wal)).toBe(20);
  });

  it("D14: a file that may not be opened or read is named, and nothing is changed", () => {
    for (const [operation, error] of [
      ["open", "EACCES"],
      ["read", "EIO"],
      ["list", "EACCES"],
      ["open", "EROFS"],
      ["open", "ENOENT"],
    ] as const) {
      const { lab, files } = threeFrames();
      const fault = lab.machine.disk.inject({
        operation,
        error,
        times: Number.POSITIVE_INFINITY,
        path: (path) => path.startsWith("data/wal"),
      });
      const failure = refusal(() => lab.open());
      expect(failure).toBeInstanceOf(FileError);
      expect(failure).toMatchObject({ code: error });
      expect((failure as FileError).path.startsWith("data/wal")).toBe(true);
      fault.remove();
      lab.kill();
      expect(lab.machine.disk.paths()).toContain(files.path);
      expect(lab.matching(lab.open().wal)).toBe(3);
    }
  });

  it("a log that is refused leaves no file open", () => {
    const { lab, files } = threeFrames();
    lab.machine.disk.flipBit(files.path, files.offsets[0] as number);
    refusal(() => lab.open());
    lab.idle(10);
    expect(lab.machine.disk.quiet).toBe(true);
  });

  it("a creation over a log that holds something is refused", () => {
    const { lab } = threeFrames();
    const error = refusal(() => lab.create());
    expect(error).toBeInstanceOf(CorruptionError);
  });
});

/** A log of three frames with one entry each in its only segment, whose process was killed. */
function threeFrames(options: { markAfterMs?: number } = {}): {
  lab: Lab;
  files: { path: string; offsets: number[]; end: number };
} {
  const lab = new Lab(20, { segmentSizeBytes: 8192, ...options });
  const wal = lab.create();
  for (let i = 1; i <= 3; i++) lab.append(wal, [batch(0, 1, i, i)]);
  lab.kill();
  const frames = look(lab).filter((item) => item.kind === "frame");
  const path = segmentPaths(lab)[0] as string;
  const offsets = frames.map((frame) => (frame.kind === "frame" ? frame.offset : 0));
  return { lab, files: { path, offsets, end: (offsets[2] as number) + 512 } };
}

function look(lab: Lab): WalItem[] {
  const items: WalItem[] = [];
  lab.run(inspectWal(lab.env.files, lab.options.directory, (item) => items.push(item)));
  return items;
}

function refusal(act: () => unknown): unknown {
  try {
    act();
  } catch (error) {
    return error;
  }
  throw new Error("it was not refused");
}

function segmentPaths(lab: Lab): string[] {
  return lab.machine.disk.paths().filter((path) => path.startsWith("data/wal/"));
}

function copy(lab: Lab, from: string, to: string): void {
  lab.writeFile(to, lab.machine.disk.contents(from));
}

function releaseQuietly(lab: Lab, wal: Wal, index: number): void {
  try {
    lab.release(wal, 0, index);
  } catch (error) {
    if (!(error instanceof HarmonyError)) throw error;
  }
}

/** The same segment as another member of the cluster would have it. */
function foreignCopy(lab: Lab, path: string): Uint8Array {
  const bytes = lab.machine.disk.contents(path);
  bytes[24] = 8;
  const size = new DataView(bytes.buffer).getUint32(16, true);
  const crc = crcOf(bytes.subarray(24, size), crcOf(bytes.subarray(0, 20)));
  new DataView(bytes.buffer).setUint32(20, crc, true);
  return bytes;
}

/** CRC32C bit by bit, from its definition: not the implementation under test. */
function crcOf(bytes: Uint8Array, seed = 0): number {
  let crc = ~seed;
  for (const byte of bytes) {
    crc ^= byte;
    for (let bit = 0; bit < 8; bit++) crc = crc & 1 ? (crc >>> 1) ^ 0x82f63b78 : crc >>> 1;
  }
  return ~crc >>> 0;
}
