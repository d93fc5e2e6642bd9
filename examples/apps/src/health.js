// Rural health: each operation is queued at the relay and then processed there.

import { randomUUID } from "node:crypto";

import { Refused } from "./session.js";

/**
 * @typedef {"CLIENT_WINS" | "SERVER_WINS" | "MANUAL"} Resolution
 * @typedef {object} Operation
 * @property {string} id
 * @property {string} userId
 * @property {string} deviceId
 * @property {"CREATE" | "UPDATE" | "DELETE"} operation
 * @property {string} resourceType
 * @property {string} [resourceId]
 * @property {Record<string, unknown>} data
 * @property {string} createdAtClient
 * @property {number} version
 *
 * @typedef {"PENDING" | "SYNCING" | "FAILED" | "IN_REVIEW"} Status
 * @typedef {Operation & { status: Status, error?: string }} Queued
 * @typedef {{ queue: Queued[], resources: Record<string, any> }} Clinic
 * @typedef {(operation: Operation, conflict: any) => Promise<Resolution>} Ask
 */

/** @returns {Clinic} */
export function empty() {
  return { queue: [], resources: {} };
}

export class Health {
  /** @type {Promise<void> | undefined} */
  #syncing;

  /**
   * @param {import("./session.js").Session} session
   * @param {import("./store.js").Store<Clinic>} store
   * @param {{ userId: string, ask: Ask, isOnline?: () => boolean }} setup
   */
  constructor(session, store, { userId, ask, isOnline = () => true }) {
    this.session = session;
    this.store = store;
    this.userId = userId;
    this.ask = ask;
    this.isOnline = isOnline;
  }

  /** After a start: what was on its way when the app ended is pending again. */
  async initialize() {
    await this.store.change(({ queue }) => {
      for (const one of queue) if (one.status === "SYNCING") one.status = "PENDING";
    });
  }

  /**
   * Keeps an operation, and sends it at once where there is a network.
   * @param {Operation["operation"]} operation
   * @param {string} resourceType
   * @param {Record<string, unknown>} data
   * @param {string} [resourceId]
   * @param {number} [version] the version that the device knew
   * @returns {Promise<string>} its id; it is on the disk
   */
  async queueOperation(operation, resourceType, data, resourceId, version = 1) {
    const id = randomUUID();
    const createdAtClient = new Date().toISOString();
    const [userId, deviceId] = [this.userId, this.session.device];
    const named = resourceId === undefined ? {} : { resourceId };
    const what = { operation, resourceType, ...named, data };
    const queued = { id, userId, deviceId, ...what, createdAtClient, version };
    await this.store.change(({ queue }) => void queue.push({ ...queued, status: "PENDING" }));
    if (this.isOnline()) void this.syncAll();
    return id;
  }

  /** Everything pending or failed, in its order; whoever asks meanwhile waits for the same. */
  syncAll() {
    this.#syncing ??= this.#syncEach().finally(() => (this.#syncing = undefined));
    return this.#syncing;
  }

  async #syncEach() {
    const tried = new Set();
    for (;;) {
      const isNext = (/** @type {Queued} */ { id, status }) =>
        !tried.has(id) && (status === "PENDING" || status === "FAILED");
      const next = this.store.value.queue.find(isNext);
      if (next === undefined) return;
      tried.add(next.id);
      await this.#syncOperation(next);
    }
  }

  /** @returns {{ total: number, pending: number, failed: number }} */
  getSyncStatus() {
    const { queue } = this.store.value;
    const count = (/** @type {Status[]} */ ...wanted) =>
      queue.filter(({ status }) => wanted.includes(status)).length;
    const [pending, failed] = [count("PENDING", "SYNCING"), count("FAILED")];
    return { total: queue.length, pending, failed };
  }

  /** What the app shows in its corner. */
  badge() {
    const { pending, failed } = this.getSyncStatus();
    return pending + failed === 0 ? "All synced ✓" : `Pending: ${pending}, Failed: ${failed}`;
  }

  /** @param {Queued} queued */
  async #syncOperation({ status: _, error: __, ...operation }) {
    await this.#mark(operation.id, { status: "SYNCING" });
    try {
      const { id } = await this.#post("/api/v1/sync/queue", operation);
      const answer = await this.#post(`/api/v1/sync/process/${encodeURIComponent(id)}`);
      if (answer.status === "SYNCED") await this.#done(operation, answer.result);
      else if (answer.status === "CONFLICT") await this.#handleConflict(operation, id, answer);
      else throw new Error(answer.error ?? answer.message);
    } catch (error) {
      await this.#mark(operation.id, { status: "FAILED", error: String(error) });
    }
  }

  /**
   * Only an admin's choice of the client's values takes effect at once; until then the operation is
   * in review and is not sent again.
   * @param {Operation} operation
   * @param {string} id as the relay knows the operation
   * @param {any} conflict
   */
  async #handleConflict(operation, id, conflict) {
    const resolution = await this.ask(operation, conflict);
    const path = `/api/v1/sync/resolve/${encodeURIComponent(id)}?resolution=${resolution}`;
    const answer = await this.session.json(path, { method: "PATCH" });
    if (answer.status === "SYNCED") await this.#done(operation, answer.result);
    else await this.#mark(operation.id, { status: "IN_REVIEW" });
  }

  /**
   * @param {Operation} operation
   * @param {any} result
   */
  #done({ id, resourceType }, result) {
    return this.store.change((clinic) => {
      clinic.queue = clinic.queue.filter((one) => one.id !== id);
      if (result?.id === undefined) return;
      const place = `${resourceType}/${result.id}`;
      if (result.deleted === true) delete clinic.resources[place];
      else clinic.resources[place] = result;
    });
  }

  /**
   * @param {string} id
   * @param {Partial<Queued>} state
   */
  #mark(id, state) {
    return this.store.change(({ queue }) => {
      const found = queue.find((one) => one.id === id);
      if (found !== undefined) Object.assign(found, state);
    });
  }

  /**
   * The JSON of an answer, whatever its status: an answer that is no JSON is a failure.
   * @param {string} path
   * @param {object} [body]
   * @returns {Promise<any>}
   */
  async #post(path, body) {
    const response = await this.session.send(path, { method: "POST", body });
    if (!response.ok) throw await Refused.from(response);
    return response.json();
  }
}
