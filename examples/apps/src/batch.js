// The events of a shift: appended offline, sent in one batch when there is a network.

import { randomUUID } from "node:crypto";

import { Refused } from "./session.js";

/**
 * @typedef {object} Event what happened, as it is sent
 * @property {string} id
 * @property {string} type
 * @property {object} payload
 * @property {string} timestamp
 * @property {string} deviceId
 * @property {string} userId
 * @property {boolean} synced
 * @property {number} syncAttempts
 * @property {string} createdAt
 *
 * @typedef {{ events: Event[] }} Log
 * @typedef {{ eventId: string, reason: string, localData: any, serverData: any }} Conflict
 * @typedef {object} App
 * @property {import("./session.js").Session} session
 * @property {EventStore} store
 * @property {Connectivity} connectivity
 * @property {string} tenantId
 *
 * @typedef {object} SyncResult
 * @property {boolean} success
 * @property {number} syncedCount
 * @property {Conflict[]} conflicts
 * @property {string[]} errors
 */

/** How often the relay is looked for, in milliseconds. */
const POLL_EVERY = 30_000;

/** What people are told when a sync failed. */
const SAFE =
  "Your data is safe locally. The sync will be retried automatically when you're online.";

/** @returns {Log} */
export function empty() {
  return { events: [] };
}

/** The append-only log of a device. */
export class EventStore {
  /** @param {import("./store.js").Store<Log>} store */
  constructor(store) {
    this.store = store;
  }

  /**
   * @param {string} type
   * @param {object} payload
   * @param {string} userId
   * @param {string} deviceId
   * @returns {Promise<string>} the id; the event is on the disk
   */
  async append(type, payload, userId, deviceId) {
    const id = randomUUID();
    const at = new Date().toISOString();
    const state = { synced: false, syncAttempts: 0, createdAt: at };
    const event = { id, type, payload, timestamp: at, deviceId, userId, ...state };
    await this.store.change(({ events }) => void events.push(event));
    return id;
  }

  /** @returns {Event[]} in the order of their time */
  unsynced() {
    const events = this.store.value.events.filter(({ synced }) => !synced);
    return events.sort((one, other) => one.timestamp.localeCompare(other.timestamp));
  }

  /** @param {string[]} ids */
  markSynced(ids) {
    return this.#each(ids, (event) => void (event.synced = true));
  }

  /** @param {string[]} ids */
  incrementAttempts(ids) {
    return this.#each(ids, (event) => void (event.syncAttempts += 1));
  }

  stats() {
    const total = this.store.value.events.length;
    const unsynced = this.unsynced().length;
    return { unsynced, synced: total - unsynced, total };
  }

  /**
   * @param {string[]} ids
   * @param {(event: Event) => void} edit
   */
  async #each(ids, edit) {
    if (ids.length === 0) return;
    const chosen = new Set(ids);
    await this.store.change(({ events }) => {
      for (const event of events) if (chosen.has(event.id)) edit(event);
    });
  }
}

/** Whether the relay can be reached; tells `online` and `offline` when that changes. */
export class Connectivity extends EventTarget {
  #url;
  #fetch;
  #isOnline;
  /** @type {NodeJS.Timeout | undefined} */
  #timer;

  /** @param {{ url: string, fetch?: import("./session.js").Fetch, isOnline?: boolean }} setup */
  constructor({ url, fetch = globalThis.fetch, isOnline = true }) {
    super();
    this.#url = url;
    this.#fetch = fetch;
    this.#isOnline = isOnline;
  }

  isOnline() {
    return this.#isOnline;
  }

  /** Begins to look; until `destroy`. */
  start() {
    this.#timer = setInterval(() => void this.check(), POLL_EVERY);
  }

  /** Looks once. An answer that is not OK changes nothing. */
  async check() {
    try {
      const init = { method: "HEAD", cache: /** @type {const} */ ("no-store") };
      const response = await this.#fetch(`${this.#url}/api/health`, init);
      if (response.ok) this.#become(true);
    } catch {
      this.#become(false);
    }
  }

  destroy() {
    clearInterval(this.#timer);
  }

  /** @param {boolean} isOnline */
  #become(isOnline) {
    if (isOnline === this.#isOnline) return;
    this.#isOnline = isOnline;
    this.dispatchEvent(new Event(isOnline ? "online" : "offline"));
  }
}

/** Brings the log to the relay. */
export class BatchSync {
  #isSyncing = false;
  /** @type {App} */
  #app;
  /** The sync that an `online` began, for whoever wants to wait for it.
   * @type {Promise<SyncResult> | undefined} */
  automatic;

  /**
   * @param {App & { autoSync?: boolean }} app
   */
  constructor({ autoSync = true, ...app }) {
    this.#app = app;
    if (autoSync) {
      app.connectivity.addEventListener("online", () => (this.automatic = this.syncNow()));
    }
  }

  /**
   * Sends everything that is unsynced; never throws.
   * @returns {Promise<SyncResult>}
   */
  async syncNow() {
    if (this.#isSyncing) return failure("Sync already in progress");
    if (!this.#app.connectivity.isOnline()) return failure("Device is offline");
    const events = this.#app.store.unsynced();
    if (events.length === 0) return { success: true, syncedCount: 0, conflicts: [], errors: [] };
    this.#isSyncing = true;
    try {
      return await this.#send(events);
    } catch (error) {
      await this.#app.store.incrementAttempts(events.map(({ id }) => id));
      if (!(error instanceof Refused)) return failure(String(error));
      return failure(`Sync failed: ${error.status} ${error.statusText}`);
    } finally {
      this.#isSyncing = false;
    }
  }

  /**
   * @param {Event[]} events
   * @returns {Promise<SyncResult>}
   */
  async #send(events) {
    const { session, store, tenantId } = this.#app;
    const deviceInfo = { deviceId: session.device, platform: "electron", appVersion: "1.0.0" };
    const body = { tenantId, events, deviceInfo };
    const answer = await session.json("/field-data/sync", { method: "POST", body });
    await store.markSynced(answer.syncedEventIds);
    const { conflicts, errors } = answer;
    return { success: true, syncedCount: answer.syncedEventIds.length, conflicts, errors };
  }
}

/**
 * What a person reads at the end of a shift.
 * @param {SyncResult} result
 * @returns {string[]}
 */
export function endOfShift({ success, syncedCount, conflicts, errors }) {
  if (!success) {
    return ["✗ Sync failed", SAFE, ...errors];
  }
  const lines = [`✓ Successfully synced ${syncedCount} events!`];
  if (conflicts.length > 0) {
    lines.push(`⚠ ${conflicts.length} conflicts detected. These will be reviewed by a manager.`);
  }
  return [...lines, ...conflicts.map(({ reason }) => reason)];
}

/**
 * @param {string} error
 * @returns {SyncResult}
 */
function failure(error) {
  return { success: false, syncedCount: 0, conflicts: [], errors: [error] };
}
