// The records of this device, for the main or preload script of an Electron app.

import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as pause } from "node:timers/promises";

import { events } from "./events.js";
import type {
  Access, ChangesPage, Conflict, FieldRecord, Fields, LiveEvent, NewRecord, Page, ProblemDetails,
  Query, Resolution, Revision, SyncReport,
} from "./types.js";

export type * from "./types.js";

/** How long to wait before a stream is opened again, in milliseconds: at first, and at most. */
const RETRY_MIN = 100;
const RETRY_MAX = 5_000;

/** Reads how to get in from the home of the daemon. Only its owner can. */
export async function readAccess(home: string): Promise<Access> {
  return JSON.parse(await readFile(join(home, "loopback.json"), "utf8")) as Access;
}

/** A request that the daemon refused. */
export class Problem extends Error {
  constructor(readonly details: ProblemDetails) {
    super(details.detail);
    this.name = "Problem";
  }

  get status(): number {
    return this.details.status;
  }
}

interface Call {
  method?: string;
  query?: object;
  body?: unknown;
  headers?: Record<string, string>;
  signal?: AbortSignal | undefined;
}

/** What stands for the version of a record that a change is based on. */
type Read = Pick<FieldRecord, "id" | "version">;

export class Fieldmesh {
  private constructor(private readonly access: () => Promise<Access>) {}

  /** A client of the daemon that runs on a home; it follows it over restarts. */
  static at(home: string): Fieldmesh {
    return new Fieldmesh(() => readAccess(home));
  }

  /** A client of a daemon whose address and token are known. */
  static with(access: Access): Fieldmesh {
    return new Fieldmesh(async () => access);
  }

  page(query: Query): Promise<Page> {
    return this.json("/v1/records", { query });
  }

  /** Every record that a query asks for, page by page. */
  async *records(query: Query): AsyncGenerator<FieldRecord> {
    for (let cursor = query.cursor; ; ) {
      const page = await this.page(cursor === undefined ? query : { ...query, cursor });
      yield* page.records;
      if (page.next === undefined) return;
      cursor = page.next;
    }
  }

  async count(query: Omit<Query, "limit" | "cursor">): Promise<number> {
    return (await this.json<{ count: number }>("/v1/count", { query })).count;
  }

  /** A record by its id, the end of one or a unique name; with `at` as it was then. */
  record(id: string, at?: string): Promise<FieldRecord> {
    return this.json(path(id), { query: { at } });
  }

  /** Makes a record; it is on disk when this resolves. */
  create(record: NewRecord): Promise<FieldRecord> {
    return this.json("/v1/records", { method: "POST", body: record });
  }

  /** Changes fields of what was read; a `Problem` with status 412 has what is there by now. */
  edit(read: Read, fields: Fields): Promise<FieldRecord> {
    return this.json(path(read.id), { method: "PATCH", body: { fields }, headers: match(read) });
  }

  remove(read: Read): Promise<FieldRecord> {
    return this.json(path(read.id), { method: "DELETE", headers: match(read) });
  }

  restore(read: Read): Promise<FieldRecord> {
    return this.json(`${path(read.id)}/restore`, { method: "POST", headers: match(read) });
  }

  history(id: string): Promise<Revision[]> {
    return this.json(`${path(id)}/history`);
  }

  /** What has changed since a cursor; keep `next` for the next time. */
  changes(query: { after?: string; collection?: string; limit?: number }): Promise<ChangesPage> {
    return this.json("/v1/changes", { query });
  }

  conflicts(query: { kind?: string; closed?: boolean } = {}): Promise<Conflict[]> {
    return this.json("/v1/conflicts", { query });
  }

  resolve(id: string, resolution: Resolution): Promise<FieldRecord> {
    const place = `/v1/conflicts/${encodeURIComponent(id)}/resolve`;
    return this.json(place, { method: "POST", body: resolution });
  }

  /** Comes into step with everyone reachable, or with those named. */
  sync(body: { with?: string[]; timeout?: number } = {}): Promise<SyncReport> {
    return this.json("/v1/sync", { method: "POST", body });
  }

  /**
   * Follows a query: its answer, then what changes of it. A stream that is cut is opened again and
   * goes on behind its last event; it ends with `signal`, and throws what the daemon refuses.
   * `trouble` hears of everything else that cuts it, before it is tried again.
   */
  async *live(
    query: Omit<Query, "limit" | "cursor" | "unsafe">,
    signal?: AbortSignal,
    trouble: (error: unknown) => void = () => {},
  ): AsyncGenerator<LiveEvent> {
    let last = "";
    let wait = RETRY_MIN;
    while (!signal?.aborted) {
      try {
        const headers: Record<string, string> = { accept: "text/event-stream" };
        if (last !== "") headers["last-event-id"] = last;
        const response = await this.send("/v1/live", { query, headers, signal });
        if (response.body === null) return;
        for await (const event of events(response.body)) {
          if (event.event === "failed") throw new Error(String(JSON.parse(event.data).detail));
          wait = RETRY_MIN;
          const known = understood(event.event, event.data);
          // What a newer daemon tells in other words is asked for anew, as a whole.
          last = known === undefined ? "" : event.id;
          if (known === undefined) break;
          yield known;
        }
      } catch (error) {
        // What was refused would be refused again; all else may be better in a while.
        if (error instanceof Problem && error.status < 500 && error.status !== 401) throw error;
        if (signal?.aborted) return;
        trouble(error);
      }
      try {
        await pause(wait, undefined, signal === undefined ? {} : { signal });
      } catch {
        return;
      }
      wait = Math.min(2 * wait, RETRY_MAX);
    }
  }

  private async json<T>(place: string, call: Call = {}): Promise<T> {
    return (await (await this.send(place, call)).json()) as T;
  }

  private async send(place: string, call: Call): Promise<Response> {
    const { url, token } = await this.access();
    const headers: Record<string, string> = { authorization: `Bearer ${token}`, ...call.headers };
    const init: RequestInit = { method: call.method ?? "GET", headers };
    if (call.body !== undefined) {
      headers["content-type"] = "application/json";
      init.body = JSON.stringify(call.body);
    }
    if (call.signal !== undefined) init.signal = call.signal;
    const response = await fetch(url + place + search(call.query ?? {}), init);
    if (response.ok) return response;
    throw new Problem(await problem(response));
  }
}

function path(id: string): string {
  return `/v1/records/${encodeURIComponent(id)}`;
}

function match(read: Read): Record<string, string> {
  if (read.version === undefined) throw new Error("read the record before it is changed");
  return { "if-match": `"${read.version}"` };
}

function search(query: object): string {
  const words = new URLSearchParams();
  for (const [name, value] of Object.entries(query)) {
    for (const one of Array.isArray(value) ? value : [value]) {
      if (one !== undefined) words.append(name, String(one));
    }
  }
  const text = words.toString();
  return text === "" ? "" : `?${text}`;
}

function understood(name: string, text: string): LiveEvent | undefined {
  const data = JSON.parse(text) as { records: FieldRecord[]; record: FieldRecord; id: string };
  switch (name) {
    case "present":
    case "resync":
      return { kind: name, records: data.records };
    case "added":
    case "changed":
      return { kind: name, record: data.record };
    case "removed":
      return { kind: name, id: data.id };
    default:
      return undefined;
  }
}

async function problem(response: Response): Promise<ProblemDetails> {
  const text = await response.text();
  try {
    return JSON.parse(text) as ProblemDetails;
  } catch {
    const { status, statusText } = response;
    return { type: "about:blank", title: statusText, status, detail: text || statusText };
  }
}
