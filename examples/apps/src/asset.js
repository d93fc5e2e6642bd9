// Assets, tasks and schedules of a web app that sends and receives in one request.

/**
 * @typedef {"CREATE" | "UPDATE" | "DELETE"} Operation
 * @typedef {object} Change
 * @property {string} entityType
 * @property {string} entityId
 * @property {Operation} operation
 * @property {Record<string, unknown>} payload
 * @property {number} clientVersion the version that it was based on
 * @property {string} timestamp
 *
 * @typedef {{ key: number, change: Change, error?: string }} Queued
 * @typedef {"CLIENT_WINS" | "SERVER_WINS" | "MERGE" | "MANUAL"} Resolution
 * @typedef {object} Conflict
 * @property {string} id
 * @property {string} entityType
 * @property {string} entityId
 * @property {Record<string, unknown>} clientData
 * @property {Record<string, unknown>} serverData
 * @property {Resolution} suggestedResolution
 *
 * @typedef {{ version: number, data: Record<string, unknown>, deleted: boolean }} Entity
 * @typedef {object} Cache
 * @property {string | null} syncToken
 * @property {number} keys
 * @property {Queued[]} queue
 * @property {Queued[]} failed
 * @property {Conflict[]} conflicts
 * @property {Record<string, Entity>} entities
 *
 * @typedef {{ sent: number, received: number, conflicts: Conflict[] }} Exchange
 */

/** @returns {Cache} */
export function empty() {
  return { syncToken: null, keys: 0, queue: [], failed: [], conflicts: [], entities: {} };
}

export class Assets {
  /** @type {Promise<Exchange> | undefined} */
  #syncing;

  /**
   * @param {import("./session.js").Session} session
   * @param {import("./store.js").Store<Cache>} store
   * @param {string} [deviceName]
   */
  constructor(session, store, deviceName = "Field phone") {
    this.session = session;
    this.store = store;
    this.deviceName = deviceName;
  }

  /**
   * An entity as this device knows it, with what is not sent so far.
   * @param {string} entityType
   * @param {string} entityId
   */
  read(entityType, entityId) {
    const found = this.store.value.entities[`${entityType}/${entityId}`];
    if (found === undefined || found.deleted) return undefined;
    const { version, data } = found;
    return { version, data, isPending: this.isPending(entityType, entityId) };
  }

  /**
   * Whether a change of it waits to be sent.
   * @param {string} entityType
   * @param {string} entityId
   */
  isPending(entityType, entityId) {
    return this.store.value.queue.some(({ change }) => isOf(change, entityType, entityId));
  }

  /**
   * Shows a change at once and queues it; needs no network.
   * @param {Operation} operation
   * @param {string} entityType
   * @param {string} entityId
   * @param {Record<string, unknown>} [payload]
   */
  write(operation, entityType, entityId, payload = {}) {
    return this.store.change((cache) => {
      const place = `${entityType}/${entityId}`;
      const known = cache.entities[place] ?? { version: 1, data: {}, deleted: false };
      const timestamp = new Date().toISOString();
      const { version } = known;
      const what = { entityType, entityId, operation, payload };
      const change = { ...what, clientVersion: version, timestamp };
      cache.keys += 1;
      cache.queue.push({ key: cache.keys, change });
      const data = { ...known.data, ...payload };
      cache.entities[place] = { version, data, deleted: operation === "DELETE" };
    });
  }

  /** Sends what is queued and takes what others did; whoever asks meanwhile gets the same. */
  sync() {
    this.#syncing ??= this.#exchange().finally(() => (this.#syncing = undefined));
    return this.#syncing;
  }

  /** @returns {Promise<Exchange>} */
  async #exchange() {
    const { queue, syncToken } = this.store.value;
    const body = {
      deviceId: this.session.device,
      deviceName: this.deviceName,
      syncToken,
      changes: queue.map(({ change }) => change),
    };
    const answer = await this.session.json("/api/sync", { method: "POST", body });
    await this.store.change((cache) => {
      settle(cache, queue, answer.results ?? []);
      for (const change of answer.changes) take(cache, change);
      for (const conflict of answer.conflicts) remember(cache, conflict);
      // Last, and on the disk together with what it stands for.
      cache.syncToken = answer.syncToken;
    });
    const { changes, conflicts } = answer;
    return { sent: queue.length, received: changes.length, conflicts };
  }

  /**
   * Everything of some types, page by page: for a device that begins, or has lost its cache.
   * @param {string[]} entityTypes
   * @param {number} [pageSize]
   */
  async fill(entityTypes, pageSize = 100) {
    const deviceId = this.session.device;
    /** @type {{ pageToken?: string }} */
    let page = {};
    let received = 0;
    for (;;) {
      const body = { deviceId, entityTypes, pageSize, ...page };
      const answer = await this.session.json("/api/sync/delta", { method: "POST", body });
      await this.store.change((cache) => {
        for (const change of answer.changes) take(cache, change);
      });
      received += answer.changes.length;
      if (!answer.hasMore) return received;
      page = { pageToken: answer.nextPageToken };
    }
  }

  /**
   * Settles a conflict as a person chose.
   * @param {string} conflictId
   * @param {Resolution} resolution
   * @param {Record<string, unknown>} [resolvedData]
   */
  async resolve(conflictId, resolution, resolvedData) {
    const body = { conflictId, resolution, ...(resolvedData && { resolvedData }) };
    const path = "/api/sync/conflicts/resolve";
    const answer = await this.session.json(path, { method: "POST", body });
    await this.store.change((cache) => {
      cache.conflicts = cache.conflicts.filter(({ id }) => id !== conflictId);
      if (answer.entity === undefined) return;
      const { entityType, entityId, version, payload, deleted = false } = answer.entity;
      cache.entities[`${entityType}/${entityId}`] = { version, data: payload, deleted };
    });
    return answer;
  }
}

/**
 * @param {Change} change
 * @param {string} entityType
 * @param {string} entityId
 */
function isOf(change, entityType, entityId) {
  return change.entityType === entityType && change.entityId === entityId;
}

/**
 * Takes those out of the queue that were sent; what was queued meanwhile stays.
 * @param {Cache} cache
 * @param {Queued[]} sent
 * @param {any[]} results
 */
function settle(cache, sent, results) {
  const keys = new Set(sent.map(({ key }) => key));
  cache.queue = cache.queue.filter(({ key }) => !keys.has(key));
  for (const [index, queued] of sent.entries()) {
    const { entityType, entityId } = queued.change;
    const { status, version, error } = results[index] ?? {};
    const entity = cache.entities[`${entityType}/${entityId}`];
    if (version !== undefined && entity !== undefined) entity.version = version;
    if (status === "FAILED") cache.failed.push({ ...queued, error });
  }
}

/**
 * A change of somebody else; what this device has queued for the entity stays visible over it.
 * @param {Cache} cache
 * @param {Change} change
 */
function take(cache, { entityType, entityId, operation, payload, clientVersion }) {
  const queued = cache.queue.filter(({ change }) => isOf(change, entityType, entityId));
  const data = Object.assign({ ...payload }, ...queued.map(({ change }) => change.payload));
  const deleted = operation === "DELETE";
  cache.entities[`${entityType}/${entityId}`] = { version: clientVersion, data, deleted };
}

/**
 * @param {Cache} cache
 * @param {Conflict} conflict
 */
function remember(cache, conflict) {
  cache.conflicts = [...cache.conflicts.filter(({ id }) => id !== conflict.id), conflict];
}
