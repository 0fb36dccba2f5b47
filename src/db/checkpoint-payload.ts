/**
 * What a checkpoint of a group says besides its trees: the replica's part (incarnation, configuration) and the
 * machine's, which this file does not look into.
 *
 *     u8 format (1) | u64 incarnation | u8 voters | voters x u64 | machine's bytes
 *     u8 format (2) | u64 incarnation | u8 flags | four lists, each u8 count | count x u64 | machine's bytes
 *
 * Format 1 is that of a configuration of voters alone, which most are; format 2 holds the outgoing voters, learners, and
 * learners to be as well, and in bit 0 of its flags whether the joint configuration is left by itself.
 */
import { assert, CorruptionError, readU64, writeU64 } from "../base/index.ts";
import type { ConfState, NodeId } from "../raft/index.ts";

const FORMAT_PLAIN = 1;
const FORMAT = 2;
const HEAD_BYTES = 9;
const ID_BYTES = 8;
const FLAG_AUTO_LEAVE = 1;

export interface CheckpointPayload {
  readonly incarnation: number;
  readonly confState: ConfState;
  readonly machine: Uint8Array;
}

export function encodeCheckpointPayload(payload: CheckpointPayload): Uint8Array {
  const { voters, votersOutgoing, learners, learnersNext, autoLeave } = payload.confState;
  const rest = [votersOutgoing, learners, learnersNext];
  const isPlain = rest.every(({ length }) => length === 0);
  assert(!isPlain || !autoLeave, "only a joint configuration is left");
  const lists = isPlain ? [voters] : [voters, ...rest];
  const ids = lists.reduce((sum, list) => sum + list.length, 0);
  const listBytes = (isPlain ? 0 : 1) + lists.length + ids * ID_BYTES;
  const out = new Uint8Array(HEAD_BYTES + listBytes + payload.machine.length);
  out[0] = isPlain ? FORMAT_PLAIN : FORMAT;
  writeU64(out, 1, payload.incarnation);
  let at = HEAD_BYTES;
  if (!isPlain) out[at++] = autoLeave ? FLAG_AUTO_LEAVE : 0;
  for (const list of lists) {
    out[at++] = list.length;
    for (const id of list) {
      writeU64(out, at, id);
      at += ID_BYTES;
    }
  }
  out.set(payload.machine, at);
  return out;
}

/** The bytes come out of a checked meta page; `file` names it should they not fit all the same. */
export function decodeCheckpointPayload(bytes: Uint8Array, file: string): CheckpointPayload {
  const unfit = (): never => {
    throw new CorruptionError({
      file,
      offset: 0,
      what: "the checkpoint's payload does not fit its format",
    });
  };
  const [format] = bytes;
  if (format !== FORMAT_PLAIN && format !== FORMAT) unfit();
  let at = HEAD_BYTES;
  const flags = format === FORMAT ? (bytes[at++] ?? 0) : 0;
  const list = (): readonly NodeId[] => {
    const end = at + 1 + (bytes[at] ?? 0) * ID_BYTES;
    if (at >= bytes.length || end > bytes.length) unfit();
    const ids: NodeId[] = [];
    for (at++; at < end; at += ID_BYTES) ids.push(readU64(bytes, at));
    return ids;
  };
  const voters = list();
  const none: readonly NodeId[] = [];
  const [votersOutgoing, learners, learnersNext] =
    format === FORMAT ? [list(), list(), list()] : [none, none, none];
  if (voters.length === 0 || flags > FLAG_AUTO_LEAVE) unfit();
  const autoLeave = flags === FLAG_AUTO_LEAVE;
  return {
    incarnation: readU64(bytes, 1),
    confState: { voters, votersOutgoing, learners, learnersNext, autoLeave },
    machine: bytes.slice(at),
  };
}
