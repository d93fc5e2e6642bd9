// What passes over /v1, as /v1/openapi.json describes it.

/** How to get in: the contents of loopback.json in the home. */
export interface Access {
  url: string;
  token: string;
}

export type Json = null | boolean | number | string | Json[] | { [key: string]: Json };
export type Fields = { [key: string]: Json };

/** One record. */
export interface FieldRecord {
  id: string;
  collection: string;
  fields: Fields;
  /** Names of the records that fields refer to. */
  names?: { [field: string]: string };
  createdBy: string;
  createdAt: string;
  updatedAt: string;
  deviceId: string;
  deleted: boolean;
  /** Where all of it is: `here`, `devices:N` or `relay`. */
  safe?: string;
  /** What it was read as; changes are based on it. */
  version?: string;
  /** Ids of its open conflicts. */
  conflicts: string[];
}

export interface Page {
  records: FieldRecord[];
  /** The cursor of the next page; absent where this is the last. */
  next?: string;
}

/** Which records: conditions like `oilVolume>80`, and words that narrow them. */
export interface Query {
  collection: string;
  where?: string[];
  since?: string;
  until?: string;
  site?: string;
  author?: string;
  device?: string;
  deleted?: boolean;
  unsafe?: boolean;
  conflict?: boolean;
  sort?: string;
  limit?: number;
  cursor?: string;
}

export interface NewRecord {
  collection: string;
  fields: Fields;
  at?: string;
}

export interface Change {
  id: string;
  collection: string;
  kind: "created" | "changed" | "deleted";
  version: string;
}

export interface ChangesPage {
  changes: Change[];
  next: string;
  more: boolean;
  /** Records have left the device without a change: list anew. */
  vanished: boolean;
}

export interface Revision {
  id: string;
  change: string;
  at: string;
  device: string | null;
  deviceName: string | null;
  user: string | null;
  fields: { field: string; before: Json; after: Json }[];
}

/** One side of a conflict. */
export interface ConflictValue {
  label: string;
  value: Json;
  user: string | null;
  device: string | null;
  at: string;
}

/** An item of the inbox. Kinds may be added; show one that you do not know with its values. */
export interface Conflict {
  id: string;
  kind: string;
  record: string;
  collection: string;
  name: string;
  field: string;
  open: boolean;
  values: ConflictValue[];
  reason?: string;
}

export type Resolution =
  | { take: { label: string } | "client" | "server" | "latest" }
  | { set: string[] };

export interface SyncReport {
  result: "ok" | "partial" | "failed";
  peers: { device: string | null; name: string | null; address: string; error?: string }[];
  conflicts: number;
}

/** What happens to the answer of a query. */
export type LiveEvent =
  | { kind: "present" | "resync"; records: FieldRecord[] }
  | { kind: "added" | "changed"; record: FieldRecord }
  | { kind: "removed"; id: string };

/** A failure as RFC 9457 has it. */
export interface ProblemDetails {
  type: string;
  title: string;
  status: number;
  detail: string;
  faults?: { field: string; message: string }[];
  /** The record as it is, where a change was based on another version. */
  current?: FieldRecord;
  /** The record that exists already. */
  record?: string;
}
