/** Every byte of every file, as golden dumps: a change of a format shows here before it reaches a disk. */
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { describe, expect, it } from "vitest";
import { hex, setVerifying } from "../base/index.ts";
import { inspectWal, verifyWal, VoteFile, type WalItem } from "./index.ts";
import { RecordCursor, RecordType, writeRecordHead } from "./record.ts";
import { parseSegmentName, segmentName } from "./segment.ts";
import { batch, entries, IDENTITY, Lab } from "./testing/lab.ts";

setVerifying(true);

/** Compares with the file of this name, or writes it where REWRITE=1 says so. */
function golden(name: string, found: string): void {
  const path = fileURLToPath(new URL(`testdata/${name}.txt`, import.meta.url));
  if (process.env["REWRITE"] === "1" || !existsSync(path)) writeFileSync(path, found);
  expect(found).toBe(readFileSync(path, "utf8"));
}

/** Offsets and bytes, sixteen to a line, with lines of zeros left out. */
function dump(bytes: Uint8Array): string {
  let out = "";
  for (let at = 0; at < bytes.length; at += 16) {
    const line = bytes.subarray(at, at + 16);
    if (line.every((byte) => byte === 0)) continue;
    const text = [...line]
      .map((byte) => (byte > 32 && byte < 127 ? String.fromCharCode(byte) : "."))
      .join("");
    const columns = [...line].map((byte) => hex(Uint8Array.of(byte))).join(" ");
    out += `${at.toString(16).padStart(6, "0")}  ${columns.padEnd(47)}  ${text}\n`;
  }
  return out;
}

/** Two groups, a snapshot, an overwrite, a checkpoint, a vote, two segments. */
function example(): Lab {
  const lab = new Lab(1);
  const wal = lab.create();
  lab.append(wal, [
    batch(0, 1, 1, 2, { term: 1, vote: 7, commit: 1 }),
    { group: 3, entries: [], hardState: { term: 2, vote: 5, commit: 0 } },
  ]);
  lab.append(wal, [batch(0, 2, 2, 3, { term: 2, vote: 0, commit: 2 }, 1200)]);
  let done = false;
  const snapshot = {
    meta: {
      index: 2,
      term: 2,
      confState: {
        voters: [7, 8],
        votersOutgoing: [7],
        learners: [9],
        learnersNext: [],
        autoLeave: true,
      },
    },
    fileName: "0/2-2.snap",
    sizeBytes: 4096,
    sha256: Uint8Array.from({ length: 32 }, (_, i) => i),
    installed: false,
  };
  wal.append([{ group: 0, snapshot, entries: entries(4, 4, 2), hardState: null }], (error) => {
    done = error === null;
  });
  lab.wait(() => done);
  lab.release(wal, 0, 1);
  lab.run(
    VoteFile.create(
      lab.env,
      { directory: "data" },
      IDENTITY,
      new Map([[3, { term: 2, vote: 5, incarnation: 1 }]]),
    ),
  );
  lab.run(wal.close());
  lab.kill();
  return lab;
}

describe("the formats", () => {
  it("of segments, manifest and vote file are what the golden dumps say", () => {
    const lab = example();
    let out = "";
    for (const path of lab.machine.disk
      .paths()
      .filter((it) => /\.wal$|data\/(MANIFEST|VOTE)$/.test(it))) {
      out += `== ${path}\n${dump(lab.machine.disk.contents(path))}\n`;
    }
    golden("every_byte_of_a_small_log", out);
  });

  it("are told as plain data by the inspector", () => {
    const lab = example();
    const items: WalItem[] = [];
    const report = lab.run(inspectWal(lab.env.files, "data", (item) => items.push(item)));
    const plain = (_: string, value: unknown): unknown =>
      value instanceof Uint8Array ? hex(value) : value;
    const lines = items.map((item) => JSON.stringify(item, plain));
    golden(
      "a_small_log_as_the_inspector_tells_it",
      `${lines.join("\n")}\n${JSON.stringify(report, plain)}\n`,
    );
    expect(report.damage).toEqual([]);
  });

  it("the inspector goes on behind damage and names what was lost", () => {
    const lab = example();
    const frames: WalItem[] = [];
    lab.run(
      inspectWal(lab.env.files, "data", (item) => item.kind === "frame" && frames.push(item)),
    );
    const [first, second] = frames;
    if (first?.kind !== "frame" || second?.kind !== "frame")
      throw new Error("frames were expected");
    lab.machine.disk.flipBit(first.file, first.offset + 300);
    lab.machine.disk.flipBit(second.file, second.offset);
    const damages: WalItem[] = [];
    const report = lab.run(
      inspectWal(lab.env.files, "data", (item) => item.kind === "damage" && damages.push(item)),
    );
    expect(report.frames).toBe(frames.length - 2);
    expect(damages).toMatchObject([
      {
        damage: { file: first.file, offset: first.offset },
        lost: [{ group: 0, firstIndex: 1, lastIndex: 2 }, { group: 3 }],
      },
      { damage: { file: second.file, offset: second.offset }, lost: null },
    ]);
  });

  it("the inspector sees a torn tail, a missing segment, a lost manifest and lost votes", () => {
    const torn = example();
    const paths = torn.machine.disk.paths().filter((it) => it.endsWith(".wal"));
    const last = paths[paths.length - 1] as string;
    const end: WalItem[] = [];
    torn.run(inspectWal(torn.env.files, "data", (item) => item.kind === "end" && end.push(item)));
    const offset = end[0]?.kind === "end" ? end[0].offset : 0;
    torn.machine.disk.damage(last, offset, Uint8Array.of(1, 2, 3));
    torn.unlink("data/MANIFEST");
    torn.machine.disk.flipBit("data/VOTE", 3);
    expect(torn.run(verifyWal(torn.env.files, "data"))).toMatchObject({
      tornBytes: 3,
      damage: [],
      manifest: "missing",
      votes: "lost",
    });

    const missing = example();
    missing.unlink(last);
    expect(missing.run(verifyWal(missing.env.files, "data")).damage).toContainEqual(
      expect.objectContaining({ file: "data/wal", what: expect.stringContaining("is missing") }),
    );
  });

  it("names of segments sort as the log runs, and other names are none", () => {
    const names = [
      segmentName(1, 0),
      segmentName(2, 4096),
      segmentName(10, 2 ** 40),
      segmentName(300, 2 ** 41),
    ];
    expect([...names].sort((a, b) => (a < b ? -1 : 1))).toEqual(names);
    expect(names.map((name) => parseSegmentName(name)?.sequence)).toEqual([1, 2, 10, 300]);
    for (const name of [
      "1-0.wal",
      "0000000000000001-000000000000000g.wal",
      `${names[0]}.tmp`,
      "ffffffffffffffff-0000000000000000.wal",
    ]) {
      expect(parseSegmentName(name)).toBeNull();
    }
  });

  it("records that no version of this program writes are refused", () => {
    const cases: [Uint8Array, string][] = [];
    const bytes = (type: number, size: number, total: number): Uint8Array => {
      const out = new Uint8Array(total);
      writeRecordHead(out, 0, RecordType.mark, 0, size);
      out[4] = type;
      return out;
    };
    cases.push(
      [bytes(8, 0, 12), "NEWER_FORMAT"],
      [bytes(1, 0, 12), "CORRUPT"],
      [bytes(7, 5, 12), "CORRUPT"],
      [new Uint8Array(7), "CORRUPT"],
    );
    const flagged = bytes(7, 0, 12);
    flagged[5] = 1;
    cases.push([flagged, "NEWER_FORMAT"]);
    for (const [payload, code] of cases) {
      const cursor = new RecordCursor(payload, 0, payload.length, "file", 100);
      expect(() => cursor.next()).toThrow(expect.objectContaining({ code }));
    }
  });
});
