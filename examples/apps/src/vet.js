// Veterinary practices: operations go up under ids of the device, and come back with lasting ones.

/**
 * @typedef {string | number} Id
 * @typedef {object} Operation
 * @property {number} id
 * @property {"create" | "update" | "delete"} operation
 * @property {string} entityType
 * @property {Id} entityId
 * @property {string} [tempId]
 * @property {Record<string, any>} data
 * @property {number} timestamp
 * @property {string} userId
 * @property {number} practiceId
 * @property {string} tenantId
 *
 * @typedef {object} ConflictData
 * @property {Record<string, any>} localData
 * @property {Record<string, any>} serverData
 * @property {string} conflictType
 * @property {string[]} affectedFields
 *
 * @typedef {object} Queued
 * @property {Operation} operation
 * @property {"pending" | "failed" | "conflict"} state
 * @property {number} retries
 * @property {string} [error]
 * @property {ConflictData} [conflict]
 *
 * @typedef {object} Clinic
 * @property {number} operations how many there were
 * @property {number} lastSyncTimestamp
 * @property {Queued[]} queue
 * @property {Record<string, Record<string, any>>} records by type and id
 *
 * @typedef {{ userId: string, practiceId: number, tenantId: string }} Who
 * @typedef {{ percentage: number, processed: number, total: number }} Progress
 * @typedef {"server" | "client" | Record<string, any>} Choice a record gives a value for each field
 */

/** How many operations one request carries. */
const CHUNK = 100;

/** @returns {Clinic} */
export function empty() {
  return { operations: 0, lastSyncTimestamp: 0, queue: [], records: {} };
}

export class Vet {
  /**
   * @param {import("./session.js").Session} session
   * @param {import("./store.js").Store<Clinic>} store
   * @param {Who} who
   */
  constructor(session, store, who) {
    this.session = session;
    this.store = store;
    this.who = who;
  }

  /**
   * Makes a record under an id of this device; needs no network.
   * @param {string} entityType
   * @param {Record<string, any>} data
   */
  create(entityType, data) {
    return this.store.change((clinic) => {
      const tempId = `temp_${entityType}_${Date.now()}_${clinic.operations + 1}`;
      clinic.records[place(entityType, tempId)] = { ...data, id: tempId };
      this.#queue(clinic, { operation: "create", entityType, entityId: tempId, tempId, data });
      return tempId;
    });
  }

  /**
   * @param {string} entityType
   * @param {Id} entityId
   * @param {Record<string, any>} data what changes
   */
  update(entityType, entityId, data) {
    return this.store.change((clinic) => {
      Object.assign((clinic.records[place(entityType, entityId)] ??= { id: entityId }), data);
      this.#queue(clinic, { operation: "update", entityType, entityId, data });
    });
  }

  /**
   * @param {string} entityType
   * @param {Id} entityId
   */
  delete(entityType, entityId) {
    return this.store.change((clinic) => {
      delete clinic.records[place(entityType, entityId)];
      this.#queue(clinic, { operation: "delete", entityType, entityId, data: {} });
    });
  }

  /**
   * @param {string} entityType
   * @param {Id} entityId
   */
  read(entityType, entityId) {
    return this.store.value.records[place(entityType, entityId)];
  }

  stats() {
    const count = (/** @type {Queued["state"]} */ wanted) =>
      this.store.value.queue.filter(({ state }) => state === wanted).length;
    return { pending: count("pending"), failed: count("failed"), conflicts: count("conflict") };
  }

  /** @returns {Queued[]} */
  conflicts() {
    return this.store.value.queue.filter(({ state }) => state === "conflict");
  }

  /**
   * Sends what is pending, then takes what others did.
   * @param {(progress: Progress) => void} [tell]
   */
  async sync(tell = () => {}) {
    await this.push(tell);
    await this.pull();
  }

  /** @param {(progress: Progress) => void} [tell] */
  async push(tell = () => {}) {
    const pending = this.#pending();
    const total = pending.length;
    for (let processed = 0; processed < total; ) {
      // Ids of the device in them may have become lasting ones with the part before.
      const part = this.#pending().filter(({ id }) => pending.some((one) => one.id === id));
      const operations = part.slice(0, CHUNK);
      if (operations.length === 0) break;
      const body = { operations, clientTimestamp: Date.now() };
      const answer = await this.session.json("/api/sync/push", { method: "POST", body });
      await this.store.change((clinic) => {
        for (const result of answer.results) settle(clinic, result);
      });
      processed += operations.length;
      tell({ percentage: Math.round((processed / total) * 100), processed, total });
    }
  }

  /** Page by page; the time of a page is kept together with what came with it. */
  async pull() {
    let received = 0;
    for (;;) {
      const { lastSyncTimestamp } = this.store.value;
      const since = `lastSyncTimestamp=${lastSyncTimestamp}&practiceId=${this.who.practiceId}`;
      const answer = await this.session.json(`/api/sync/pull?${since}`);
      await this.store.change((clinic) => {
        for (const change of answer.changes) take(clinic, change);
        clinic.lastSyncTimestamp = answer.nextTimestamp ?? answer.timestamp;
      });
      received += answer.changes.length;
      if (!answer.hasMore) return received;
    }
  }

  /**
   * Settles a conflict: the server's values stand, or a later edit replaces them.
   * @param {number} operationId
   * @param {Choice} choice
   */
  resolve(operationId, choice) {
    return this.store.change((clinic) => {
      const queued = clinic.queue.find(({ operation }) => operation.id === operationId);
      if (queued?.conflict === undefined) throw new Error("there is no such conflict");
      const { operation, conflict } = queued;
      const { entityType, entityId } = operation;
      clinic.queue = clinic.queue.filter((one) => one !== queued);
      const record = { ...conflict.serverData };
      if (choice !== "server") {
        const data = choice === "client" ? operation.data : choice;
        Object.assign(record, data);
        this.#queue(clinic, { operation: "update", entityType, entityId, data });
      }
      clinic.records[place(entityType, entityId)] = { ...record, id: entityId };
    });
  }

  /** @returns {Operation[]} */
  #pending() {
    const pending = this.store.value.queue.filter(({ state }) => state === "pending");
    return pending.map(({ operation }) => operation);
  }

  /**
   * @param {Clinic} clinic
   * @param {Pick<Operation, "operation" | "entityType" | "entityId" | "tempId" | "data">} what
   */
  #queue(clinic, what) {
    clinic.operations += 1;
    const operation = { id: clinic.operations, ...what, timestamp: Date.now(), ...this.who };
    clinic.queue.push({ operation, state: "pending", retries: 0 });
  }
}

/**
 * @param {string} entityType
 * @param {Id} id
 */
function place(entityType, id) {
  return `${entityType}/${id}`;
}

/**
 * What became of one operation.
 * @param {Clinic} clinic
 * @param {any} result
 */
function settle(clinic, { operationId, success, conflict, conflictData, error, realId, tempId }) {
  const queued = clinic.queue.find(({ operation }) => operation.id === operationId);
  if (queued === undefined) return;
  if (success) {
    clinic.queue = clinic.queue.filter((one) => one !== queued);
    if (tempId !== undefined && realId !== tempId) rename(clinic, queued.operation, tempId, realId);
    return;
  }
  queued.retries += 1;
  if (conflict) Object.assign(queued, { state: "conflict", conflict: conflictData });
  else Object.assign(queued, { state: "failed", error });
}

/**
 * Puts a lasting id wherever that of the device stands: in records and in what is queued.
 * @param {Clinic} clinic
 * @param {Operation} operation
 * @param {string} tempId
 * @param {Id} realId
 */
function rename(clinic, { entityType }, tempId, realId) {
  const made = clinic.records[place(entityType, tempId)];
  delete clinic.records[place(entityType, tempId)];
  if (made !== undefined) clinic.records[place(entityType, realId)] = { ...made, id: realId };
  const replace = (/** @type {Record<string, any>} */ data) => {
    for (const [key, value] of Object.entries(data)) if (value === tempId) data[key] = realId;
  };
  Object.values(clinic.records).forEach(replace);
  for (const { operation } of clinic.queue) {
    replace(operation.data);
    if (operation.entityId === tempId) operation.entityId = realId;
  }
}

/**
 * A change of somebody else; what this device has not sent so far stays visible over it.
 * @param {Clinic} clinic
 * @param {{ entityType: string, operation: string, data: Record<string, any>, id: Id }} change
 */
function take(clinic, { entityType, operation, data, id }) {
  if (operation === "delete") {
    delete clinic.records[place(entityType, id)];
    return;
  }
  const waiting = clinic.queue.filter(
    (one) => one.operation.entityType === entityType && one.operation.entityId === id,
  );
  const own = waiting.map((one) => one.operation.data);
  clinic.records[place(entityType, id)] = Object.assign({}, data, ...own, { id });
}
