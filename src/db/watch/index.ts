/**
 * Watches: from the changes that the state machine tells of to those who want to hear of them. `hub.ts` is the heart
 * and lists the promises; `recent.ts` holds the newest changes, `interests.ts` finds who cares about a key, `watch.ts`
 * is what doors see.
 *
 * A watcher holds its place as a revision. A slow one costs what an idle one costs: what it has not taken is read again
 * from memory or from the trees, and where it is no longer there, the watcher ends and is told from where on a new one
 * could start. Nothing is ever left out silently.
 *
 * Left out: splitting large revisions for the wire, ids, progress notices at intervals: the doors do these. Papers:
 * architecture 7, etcd-api.md 2.4, data-model.md ("What makes a revision"), fault-rules U3, U4.
 */
export { WatchHub, type WatchStats } from "./hub.ts";
export type { Watch, WatchEvent, WatchNews, WatchRequest } from "./watch.ts";
