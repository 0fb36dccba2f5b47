/** Members that compare hashes, with what they say to each other in plain sight. */
import { describe, expect, it } from "vitest";
import type { StateHashItem } from "../codec/index.ts";
import type { NodeId } from "../raft/index.ts";
import { Agreement, type Verdict } from "./agreement.ts";

const ROUND = 10;

class Members {
  readonly ids: readonly NodeId[];
  readonly verdicts = new Map<NodeId, Verdict[]>();
  readonly said: { readonly from: NodeId; readonly to: NodeId; readonly item: StateHashItem }[] =
    [];
  readonly down = new Set<NodeId>();
  readonly #of = new Map<NodeId, Agreement>();

  constructor(voters: number, learners: readonly NodeId[] = []) {
    const ids = Array.from({ length: voters }, (_, i) => i + 1);
    this.ids = [...ids, ...learners];
    for (const self of this.ids) {
      const verdicts: Verdict[] = [];
      this.verdicts.set(self, verdicts);
      this.#of.set(
        self,
        new Agreement({
          group: 0,
          self,
          confState: () => ({
            voters: ids,
            votersOutgoing: [],
            learners,
            learnersNext: [],
            autoLeave: false,
          }),
          tell: (to, item) => this.said.push({ from: self, to, item }),
          differ: (verdict) => verdicts.push(verdict),
        }),
      );
    }
  }

  of(id: NodeId): Agreement {
    return this.#of.get(id) as Agreement;
  }

  /** All apply the entry; `wrong` make something else of it. */
  apply(index: number, wrong: Readonly<Record<NodeId, number>> = {}): void {
    for (const id of this.ids) this.of(id).applied(index, wrong[id] ?? index * 7);
  }

  round(leader: NodeId = 1): void {
    for (let i = 0; i < ROUND; i++) for (const id of this.ids) this.of(id).tick(id === leader);
    this.deliver();
  }

  deliver(): void {
    for (let next = this.said.shift(); next !== undefined; next = this.said.shift()) {
      const { from, to, item } = next;
      if (!this.down.has(from) && !this.down.has(to)) this.of(to).take(from, item);
    }
  }
}

const decided = (index: number, ...differing: readonly NodeId[]): Verdict => ({
  index,
  differing,
  isDecided: true,
});

describe("members that compare their states", () => {
  it("find that they are equal, and say nothing more until something is applied", () => {
    const members = new Members(3);
    members.apply(1);
    members.round();
    for (const id of members.ids) {
      expect(members.verdicts.get(id)).toEqual([]);
      expect(members.of(id).agreedIndex).toBe(1);
    }
    for (const id of members.ids) for (let i = 0; i < ROUND; i++) members.of(id).tick(id === 1);
    expect(members.said).toEqual([]);
  });

  it.each([1, 2, 3])("all see that member %i differs from the majority, each once", (wrong) => {
    const members = new Members(3);
    members.apply(1);
    members.apply(2, { [wrong]: 5 });
    members.round();
    members.round();
    for (const id of members.ids)
      expect(members.verdicts.get(id)?.slice(0, 1)).toEqual([decided(2, wrong)]);
    for (const id of members.ids) expect(members.verdicts.get(id)).toHaveLength(1);
    expect(members.of(1).agreedIndex).toBe(0);
  });

  it("two of five differ, each in his own way; a learner differs and counts for no majority", () => {
    const five = new Members(5);
    five.apply(3, { 2: 5, 4: 6 });
    five.round();
    for (const id of five.ids) expect(five.verdicts.get(id)?.at(-1)).toEqual(decided(3, 2, 4));
    const learner = new Members(3, [9]);
    learner.apply(3, { 9: 5 });
    learner.round();
    expect(learner.verdicts.get(9)).toEqual([decided(3, 9)]);
    // Two learners and one voter are no majority of the voters.
    const many = new Members(3, [8, 9]);
    many.apply(3, { 1: 5, 8: 5, 9: 5 });
    many.round();
    expect(many.verdicts.get(2)?.at(-1)).toEqual(decided(3, 1, 8, 9));
  });

  it("without a majority nobody is named right: once all have answered, or will not", () => {
    const three = new Members(3);
    three.apply(1, { 1: 5, 2: 6, 3: 7 });
    three.round();
    expect(three.verdicts.get(1)).toEqual([{ index: 1, differing: [1, 2, 3], isDecided: false }]);

    const members = new Members(3);
    members.down.add(3);
    members.apply(1, { 2: 101 });
    for (let i = 0; i < 5; i++) {
      members.round();
      expect(members.verdicts.get(1)).toEqual([]);
    }
    members.round();
    expect(members.verdicts.get(1)).toEqual([{ index: 1, differing: [1, 2], isDecided: false }]);
    // The third is back: now two of three agree.
    members.down.delete(3);
    members.apply(7, { 2: 107 });
    members.round();
    expect(members.verdicts.get(1)?.at(-1)).toEqual(decided(7, 2));
  });

  it("are compared at equal entries only, however far behind one is", () => {
    const members = new Members(3);
    for (const id of [1, 2]) members.of(id).applied(1, 7);
    members.round();
    expect(members.verdicts.get(3)).toEqual([]);
    // It answers when it gets there.
    members.of(3).applied(1, 8);
    members.deliver();
    for (const id of members.ids) expect(members.verdicts.get(id)).toEqual([decided(1, 3)]);
    // What it applied long ago it does not remember, and says nothing of.
    const forgetful = new Members(3);
    for (let index = 1; index <= 20_000; index++) forgetful.of(3).applied(index, 1);
    for (const id of [1, 2]) forgetful.of(id).applied(1, 7);
    forgetful.round();
    for (const id of forgetful.ids) expect(forgetful.verdicts.get(id)).toEqual([]);
  });

  it("take no word of who is no member, and forget with a new state what they knew of the old one", () => {
    const members = new Members(3);
    members.apply(1);
    for (const from of [7, 8])
      members.of(1).take(from, { kind: "stateHash", group: 0, index: 1, hash: 99, asks: true });
    expect(members.said).toEqual([]);
    members.of(2).reset();
    members.of(2).applied(1, 99);
    members.round();
    expect(members.verdicts.get(1)).toEqual([decided(1, 2)]);
    members.of(2).reset();
    members.of(2).applied(2, 14);
    for (const id of [1, 3]) members.of(id).applied(2, 14);
    members.round();
    expect(members.verdicts.get(1)).toHaveLength(1);
    expect(members.of(1).agreedIndex).toBe(2);
  });
});
