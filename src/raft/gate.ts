/** Which messages a replica takes at all. */
import { type DropReason, isWellFormed, type Message, MESSAGE_VERSION } from "./message.ts";
import type { GroupId, Incarnation, NodeId } from "./types.ts";

interface Receiver {
  readonly group: GroupId;
  readonly id: NodeId;
  readonly isQuarantined: boolean;
}

/** Why a message is dropped unread; null: it is not. `incarnations` are the newest lives that were heard of. */
export function refusalOf(
  message: Message,
  { group, id, isQuarantined }: Receiver,
  incarnations: ReadonlyMap<NodeId, Incarnation>,
): DropReason | null {
  if (message.group !== group) return "wrong-group";
  if (message.version !== MESSAGE_VERSION) return "wrong-version";
  if (message.to !== id || message.from === id) return "wrong-recipient";
  if (!isWellFormed(message)) return "malformed";
  if (message.incarnation < (incarnations.get(message.from) ?? 0)) return "old-incarnation";
  return isQuarantined && !isHeardInQuarantine(message) ? "quarantined" : null;
}

/** Who leads, his snapshot, and the index that was asked for. Whatever else comes stays without an answer. */
function isHeardInQuarantine({ type }: Message): boolean {
  return (
    type === "append" || type === "heartbeat" || type === "snapshot" || type === "readIndexResponse"
  );
}

/** Only who leads the term sends it to a follower. */
export function isFromLeader({ type }: Message): boolean {
  return type === "append" || type === "heartbeat" || type === "snapshot" || type === "timeoutNow";
}
