/**
 * What a checkpoint of a group says besides its trees: the replica's part (incarnation, configuration) and the
 * machine's, which this file does not look into.
 *
 *     u8 format (1) | u64 incarnation | u8 voters | voters x u64 | machine's bytes
 */
import { assert, CorruptionError, readU64, writeU64 } from "../base/index.ts";
import type { ConfState, NodeId } from "../raft/index.ts";

const FORMAT = 1;

export interface CheckpointPayload {
  readonly incarnation: number;
  readonly confState: ConfState;
  readonly machine: Uint8Array;
}

export function encodeCheckpointPayload(payload: CheckpointPayload): Uint8Array {
  const { voters, votersOutgoing, learners, learnersNext } = payload.confState;
  assert(
    votersOutgoing.length + learners.length + learnersNext.length === 0,
    "this format holds plain configurations; a new one comes with membership changes",
  );
  const out = new Uint8Array(1 + 8 + 1 + voters.length * 8 + payload.machine.length);
  out[0] = FORMAT;
  writeU64(out, 1, payload.incarnation);
  out[9] = voters.length;
  let at = 10;
  for (const voter of voters) {
    writeU64(out, at, voter);
    at += 8;
  }
  out.set(payload.machine, at);
  return out;
}

/** The bytes come out of a checked meta page; `file` names it should they not fit all the same. */
export function decodeCheckpointPayload(bytes: Uint8Array, file: string): CheckpointPayload {
  const voterCount = bytes[9] ?? 0;
  const at = 10 + voterCount * 8;
  if (bytes[0] !== FORMAT || voterCount === 0 || bytes.length < at) {
    throw new CorruptionError({
      file,
      offset: 0,
      what: "the checkpoint's payload does not fit its format",
    });
  }
  const voters: NodeId[] = [];
  for (let i = 0; i < voterCount; i++) voters.push(readU64(bytes, 10 + i * 8));
  return {
    incarnation: readU64(bytes, 1),
    confState: { voters, votersOutgoing: [], learners: [], learnersNext: [], autoLeave: false },
    machine: bytes.slice(at),
  };
}
