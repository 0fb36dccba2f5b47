/**
 * A change of the configuration, in etcd's words, and its bytes in an entry of type confChange:
 *
 *     0  1  version, 1
 *     1  1  transition
 *     2  2  number of changes
 *     4  9  each change: its type, then the member's id in eight bytes
 *        4  size of the context, then the context
 *
 * The bytes lie in logs and travel to peers, so another meaning needs another version.
 */
import {
  assert,
  EMPTY_BYTES,
  HarmonyError,
  readU16,
  readU32,
  readU64,
  writeU16,
  writeU32,
  writeU64,
} from "../../base/index.ts";
import type { NodeId } from "../types.ts";

/** `addNode` makes a voter of a newcomer or a learner, `addLearnerNode` a learner of a newcomer or a voter. */
export type ConfChangeType = "addNode" | "addLearnerNode" | "removeNode" | "updateNode";

export interface ConfChangeSingle {
  readonly type: ConfChangeType;
  readonly nodeId: NodeId;
}

/**
 * `auto`: through a joint configuration if there is more than one change, and out of it without being asked.
 * `jointImplicit`: always through a joint configuration, out of it without being asked. `jointExplicit`: the joint
 * configuration stays until an empty change with `auto` leaves it.
 */
export type ConfChangeTransition = "auto" | "jointImplicit" | "jointExplicit";

export interface ConfChangeV2 {
  readonly transition: ConfChangeTransition;
  readonly changes: readonly ConfChangeSingle[];
  /** The host's: Raft carries it and does not look at it. */
  readonly context: Uint8Array;
}

/** The change that leaves a joint configuration. */
export const LEAVE_JOINT: ConfChangeV2 = Object.freeze({
  transition: "auto",
  changes: Object.freeze([]),
  context: EMPTY_BYTES,
});

/** Without changes there is nothing else that an automatic transition could mean. */
export function leavesJoint(change: ConfChangeV2): boolean {
  return change.transition === "auto" && change.changes.length === 0;
}

const VERSION = 1;
const HEAD_BYTES = 4;
const CHANGE_BYTES = 9;
const CONTEXT_HEAD_BYTES = 4;
const CHANGES_MAX = 0xffff;
/** The position is what the bytes hold. */
const TRANSITIONS: readonly ConfChangeTransition[] = ["auto", "jointImplicit", "jointExplicit"];
const TYPES: readonly ConfChangeType[] = ["addNode", "addLearnerNode", "removeNode", "updateNode"];

export function encodeConfChange(change: ConfChangeV2): Uint8Array {
  const { transition, changes, context } = change;
  assert(changes.length <= CHANGES_MAX, "a configuration change has few parts");
  const contextAt = HEAD_BYTES + changes.length * CHANGE_BYTES;
  const bytes = new Uint8Array(contextAt + CONTEXT_HEAD_BYTES + context.length);
  bytes[0] = VERSION;
  bytes[1] = TRANSITIONS.indexOf(transition);
  writeU16(bytes, 2, changes.length);
  let at = HEAD_BYTES;
  for (const { type, nodeId } of changes) {
    bytes[at] = TYPES.indexOf(type);
    writeU64(bytes, at + 1, nodeId);
    at += CHANGE_BYTES;
  }
  writeU32(bytes, at, context.length);
  bytes.set(context, at + CONTEXT_HEAD_BYTES);
  return bytes;
}

/**
 * Null for bytes that no version has written. The context is a view. Throws NEWER_FORMAT for a version that this
 * program does not know: to pass over it would be to go by another configuration than the others.
 */
export function decodeConfChange(bytes: Uint8Array): ConfChangeV2 | null {
  const version = bytes[0];
  if (version === undefined || version === 0) return null;
  if (version > VERSION) {
    throw new HarmonyError("NEWER_FORMAT", `configuration change of version ${version}`);
  }
  if (bytes.length < HEAD_BYTES + CONTEXT_HEAD_BYTES) return null;
  const transition = TRANSITIONS[bytes[1] as number];
  const contextAt = HEAD_BYTES + readU16(bytes, 2) * CHANGE_BYTES;
  if (transition === undefined || bytes.length < contextAt + CONTEXT_HEAD_BYTES) return null;
  const changes: ConfChangeSingle[] = [];
  for (let at = HEAD_BYTES; at < contextAt; at += CHANGE_BYTES) {
    const type = TYPES[bytes[at] as number];
    const nodeId = readU64(bytes, at + 1);
    if (type === undefined || Number.isNaN(nodeId)) return null;
    changes.push({ type, nodeId });
  }
  const context = bytes.subarray(contextAt + CONTEXT_HEAD_BYTES);
  if (context.length !== readU32(bytes, contextAt)) return null;
  return { transition, changes, context };
}
