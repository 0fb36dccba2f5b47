/** L7, the database. The chapter is written with the state machine. */
export type * from "./requests.ts";
