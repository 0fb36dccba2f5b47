/**
 * L8, the other end of the doors: the API of a database in process over connections to its members. The stores, scans,
 * transactions, locks and the rest are those of `db/embedded`; here is the link that carries their requests.
 *
 * `Channel` is one connection (Node's HTTP/2) to one member; `Members` chooses among the endpoints and looks whether the
 * chosen one lives and has a leader; `RemoteLink` makes calls of requests and decides what is asked again.
 *
 * Invariants:
 * 1. A request is sent again only if it certainly was not done, or if doing it twice is doing it once: a read, a write
 *    with the number of a session, and the few writes that say the same twice (`isRepeatable`). Everything else that got
 *    no answer rejects with `maybeApplied`.
 * 2. A watch that moves to another member goes on behind the last revision that it was told of: nothing is skipped and
 *    nothing told twice. If it had not begun anywhere, it begins behind what its program had seen when it asked.
 * 3. All members are of one cluster: an endpoint that answers for another one is not used.
 * 4. A call ends with its time, its signal or the database's end, whatever the network does.
 *
 * A state that is read page by page is a revision, not a pin on a member: it goes on anywhere, and a compaction ends it
 * with COMPACTED. What needs the state in the call itself (`getSync`, `snapshotSync`), messages between programs and
 * metrics are of a process with a node and rejected with UNSUPPORTED.
 *
 * Left out: TLS and users, until the server has them; finding members that are not among the endpoints.
 */
export { connectTo, type RemoteOptions } from "./connect.ts";
export { type Endpoint, endpointsOf } from "./endpoints.ts";
