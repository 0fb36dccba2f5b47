import { describe, expect, it } from "vitest";
import { setVerifying } from "../base/index.ts";
import { batch, Lab } from "./testing/lab.ts";

setVerifying(true);

describe("WAL recovery: single node", () => {
  it("gives back what was acknowledged after the process was killed", () => {
    const lab = new Lab(1);
    const wal = lab.create();
    lab.append(wal, [batch(0, 1, 1, 3, { term: 1, vote: 7, commit: 2 })]);
    lab.kill();
    const { wal: again, recovery } = lab.open();
    expect(lab.matching(again)).toBe(1);
    expect(recovery).toMatchObject({ entriesFound: 3, unclean: true, tornBytesCut: 0 });
  });

  it("gives back what was acknowledged after the power failed", () => {
    const lab = new Lab(2);
    const wal = lab.create();
    for (let i = 1; i <= 40; i++)
      lab.append(wal, [batch(0, 1, i, i, { term: 1, vote: 7, commit: i })]);
    lab.losePower("lose-all");
    const { wal: again } = lab.open();
    expect(lab.matching(again)).toBe(40);
  });

  it("knows a log that was closed in order", () => {
    const lab = new Lab(3);
    const wal = lab.create();
    lab.append(wal, [batch(0, 1, 1, 3, { term: 1, vote: 7, commit: 2 })]);
    lab.run(wal.close());
    lab.losePower("lose-all");
    const { wal: again, recovery } = lab.open();
    expect(lab.matching(again)).toBe(1);
    expect(recovery).toMatchObject({ entriesFound: 3, unclean: false, tornBytesCut: 0 });
  });
});
