/** The data of Raft as short lines, for transcripts, logs and failing tests. */
import { hex, text } from "../base/index.ts";
import { type ConfChangeV2, decodeConfChange } from "./confchange/conf-change.ts";
import type { Message } from "./message.ts";
import type { ProgressStatus, RaftStatus } from "./raw-node.ts";
import type { Ready } from "./ready.ts";
import {
  type ConfState,
  type Entry,
  EntryType,
  type HardState,
  type SnapshotMeta,
} from "./types.ts";

const DATA_BYTES_SHOWN = 32;

/** `7/3 "x=1"`: index, term, data. An empty entry shows as `7/3 empty`. */
export function describeEntry(entry: Entry): string {
  const place = `${entry.index}/${entry.term}`;
  if (entry.type === EntryType.empty) return `${place} empty`;
  if (entry.type !== EntryType.confChange) return `${place} ${describeData(entry.data)}`;
  // A version that this program does not know has no words here.
  const change = entry.data[0] === 1 ? decodeConfChange(entry.data) : null;
  const said = change === null ? describeData(entry.data) : describeConfChange(change);
  return `${place} confChange ${said}`;
}

/** `auto addNode(4) removeNode(1)`. */
export function describeConfChange({ transition, changes, context }: ConfChangeV2): string {
  const words: string[] = [transition, ...changes.map(({ type, nodeId }) => `${type}(${nodeId})`)];
  if (context.length > 0) words.push(describeData(context));
  return words.join(" ");
}

/** `4/1 voters=(1 2 3)`: the last entry that it covers, and the configuration there. */
export function describeSnapshot({ index, term, confState }: SnapshotMeta): string {
  return `${index}/${term} voters=${describeConfState(confState)}`;
}

export function describeEntries(entries: readonly Entry[]): string {
  return `[${entries.map(describeEntry).join(", ")}]`;
}

/** `1->2 append term=3 prev=6/3 commit=5 entries=[7/3 "x=1"]`. Group and incarnation show where they are not the first. */
export function describeMessage(message: Message): string {
  let header = `${message.from}->${message.to} ${message.type} term=${message.term}`;
  if (message.incarnation !== 1) header += ` incarnation=${message.incarnation}`;
  switch (message.type) {
    case "append":
      return `${header} prev=${message.prevIndex}/${message.prevTerm} commit=${message.commit} entries=${describeEntries(message.entries)}`;
    case "appendResponse":
      return message.reject
        ? `${header} rejected=${message.index} hint=${message.hintIndex}/${message.hintTerm}`
        : `${header} index=${message.index}`;
    case "heartbeat":
      return `${header} commit=${message.commit} round=${message.round}`;
    case "heartbeatResponse":
      return `${header} round=${message.round}`;
    case "vote":
    case "preVote":
      return `${header} last=${message.lastIndex}/${message.lastTerm}${message.isTransfer === true ? " transfer" : ""}`;
    case "voteResponse":
    case "preVoteResponse":
      if (message.committed === undefined) {
        return `${header} ${message.reject ? "rejected" : "granted"}`;
      }
      return `${header} rejected committed=${message.committed.index}/${message.committed.term}`;
    case "snapshot":
      return `${header} ${describeSnapshot(message.meta)}`;
    case "transferLeader":
      return `${header} transferee=${message.transferee}`;
    case "timeoutNow":
    case "readIndex":
      return header;
    case "readIndexResponse":
      return `${header} index=${message.index}`;
  }
}

export function describeHardState(state: HardState): string {
  return `term=${state.term} vote=${state.vote} commit=${state.commit}`;
}

/** `(1 2 3)`, while changing `(1 2 3)&&(2 3 4)`, with learners `(1 2 3) learners=(4)`. */
export function describeConfState(state: ConfState): string {
  let out = `(${state.voters.join(" ")})`;
  if (state.votersOutgoing.length > 0) out += `&&(${state.votersOutgoing.join(" ")})`;
  if (state.learners.length > 0) out += ` learners=(${state.learners.join(" ")})`;
  if (state.learnersNext.length > 0) out += ` learnersNext=(${state.learnersNext.join(" ")})`;
  return state.autoLeave ? `${out} autoLeave` : out;
}

/** One line for each thing that the host has to do, in the order of doing. */
export function describeReady(ready: Ready): string {
  const lines = [`Ready ${ready.number}${ready.mustSync ? " mustSync" : ""}`];
  if (ready.softState !== undefined) {
    lines.push(`role=${ready.softState.role} leader=${ready.softState.leader}`);
  }
  for (const message of ready.messages) lines.push(`send ${describeMessage(message)}`);
  if (ready.snapshot !== undefined) lines.push(`install ${describeSnapshot(ready.snapshot)}`);
  if (ready.entries.length > 0) lines.push(`append ${describeEntries(ready.entries)}`);
  if (ready.hardState !== undefined) lines.push(`save ${describeHardState(ready.hardState)}`);
  for (const message of ready.messagesAfterPersist) {
    lines.push(`then send ${describeMessage(message)}`);
  }
  if (ready.committedEntries.length > 0) {
    lines.push(`apply ${describeEntries(ready.committedEntries)}`);
  }
  for (const { context, index } of ready.readStates) lines.push(`read ${context} at ${index}`);
  return lines.join("\n  ");
}

/** `2 replicate match=7 next=9 inflight=1`. */
export function describeProgress(progress: ProgressStatus): string {
  let out = `${progress.id} ${progress.state} match=${progress.match} next=${progress.next}`;
  if (progress.inflightMessages > 0) out += ` inflight=${progress.inflightMessages}`;
  if (progress.isLearner) out += " learner";
  if (progress.needsSnapshot) out += " needsSnapshot";
  if (progress.pendingSnapshot > 0) out += ` pendingSnapshot=${progress.pendingSnapshot}`;
  return progress.recentActive ? out : `${out} inactive`;
}

export function describeStatus(status: RaftStatus): string {
  const { hardState } = status;
  const lines = [
    `${status.id} ${status.role} ${describeHardState(hardState)} leader=${status.leader} log=${status.firstIndex}..${status.lastIndex} stable=${status.stableIndex} applied=${status.appliedIndex} voters=${describeConfState(status.confState)}`,
  ];
  if (status.isQuarantined) lines.push("in quarantine");
  if (status.transferee !== 0) lines.push(`hands over to ${status.transferee}`);
  for (const progress of status.progress) lines.push(describeProgress(progress));
  for (const [reason, count] of status.drops) lines.push(`dropped ${reason}: ${count}`);
  return lines.join("\n  ");
}

function describeData(data: Uint8Array): string {
  const shown = data.subarray(0, DATA_BYTES_SHOWN);
  const printable = shown.every((byte) => byte >= 0x20 && byte < 0x7f);
  const rest = data.length > DATA_BYTES_SHOWN ? `... (${data.length} bytes)` : "";
  return `${printable ? `"${text(shown)}"` : `0x${hex(shown)}`}${rest}`;
}
