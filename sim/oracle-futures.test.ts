import { expect, it } from "vitest";
import type { Outcome } from "../src/db/index.ts";
import { KvModel, keyBytes, type ModelRequest } from "./model.ts";
import { Futures, type Issued } from "./oracle-futures.ts";
import { Witness } from "./witness.ts";

const KEY = keyBytes("k");

function issued(request: ModelRequest): Issued {
  return { request, id: null, issuedAtMs: 0, ordinal: 0, isOver: false };
}

/** Two keys with deadlines, and what somebody heard: that one of them ended in the next revision. */
function ended(): { readonly model: KvModel; readonly witness: Witness } {
  const model = new KvModel(2, true);
  for (const key of [KEY, keyBytes("another")])
    model.apply(
      {
        kind: "set",
        key,
        value: keyBytes("v"),
        condition: null,
        lease: 0n,
        expiry: { kind: "after", ttlMs: 10 },
        prevKv: false,
      },
      0,
    );
  const after = model.copy();
  after.endKeys(["k"]);
  const witness = new Witness();
  witness.restart(model.revision + 1);
  witness.heard(after.eventsAt(after.revision), after.revision);
  return { model, witness };
}

it("a key that a command ends may have ended right before it, and the command says which", () => {
  const { model, witness } = ended();
  const command = issued({
    kind: "expireKey",
    key: KEY,
    expiry: { kind: "after", ttlMs: -1 },
    when: "always",
    condition: null,
    prevKv: false,
  });
  const futures = new Futures({ queue: [command], mayEnd: () => false, witness });
  const answers = [...futures.untilHappened({ model, happened: new Map() }, command)].map(
    ({ happened }) => happened.get(command) as Outcome,
  );
  const succeeded = answers.map((answer) => "succeeded" in answer && answer.succeeded);
  expect(new Set(succeeded)).toEqual(new Set([true, false]));
  expect(new Set(answers.map(({ revision }) => revision))).toEqual(new Set([model.revision + 1]));
});
