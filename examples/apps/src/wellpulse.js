// Oil wells: wells and users come down, field entries go up.

import { randomUUID } from "node:crypto";

import { Refused } from "./session.js";

/**
 * @typedef {object} Entry what an operator records
 * @property {string} wellId
 * @property {"PRODUCTION" | "INSPECTION" | "MAINTENANCE"} entryType
 * @property {Record<string, unknown>} data
 * @property {string} [recordedAt]
 * @property {string} [notes]
 * @property {string[]} [photos]
 *
 * @typedef {Entry & { id: string, recordedAt: string }} Sent
 * @typedef {object} Kept
 * @property {Sent} entry
 * @property {"pending" | "synced" | "failed"} state
 * @property {number} attempts
 * @property {string} [reason] why it failed, or which of two values everybody sees
 *
 * @typedef {{ succeeded: number, failed: number }} Pushed
 * @typedef {object} Data
 * @property {any[]} wells
 * @property {any[]} users
 * @property {Kept[]} entries
 * @property {{ entry: string, type: string, base64: string }[]} photos those that are not sent
 * @property {Record<string, string>} metadata
 */

/** How many entries one request carries. */
const CHUNK = 100;

/** @returns {Data} */
export function empty() {
  return { wells: [], users: [], entries: [], photos: [], metadata: {} };
}

export class Wellpulse {
  /**
   * @param {import("./session.js").Session} session
   * @param {import("./store.js").Store<Data>} store
   */
  constructor(session, store) {
    this.session = session;
    this.store = store;
  }

  /** At the start and after a login: wells and users, replaced as a whole. */
  async pull() {
    const { wells, users, lastSyncTimestamp } = await this.session.json("/sync/pull");
    await this.store.change((data) => {
      [data.wells, data.users] = [wells, users];
      data.metadata["wells"] = lastSyncTimestamp;
    });
  }

  /**
   * Keeps an entry; needs no network.
   * @param {Entry} entry
   * @returns {Promise<string>} its id
   */
  async record(entry) {
    const id = randomUUID();
    const sent = { recordedAt: new Date().toISOString(), ...entry, id };
    await this.store.change(({ entries }) => {
      entries.push({ entry: sent, state: "pending", attempts: 0 });
    });
    return id;
  }

  /**
   * Keeps a photo of an entry, which is sent before the entry.
   * @param {string} id of the entry
   * @param {import("./session.js").Photo} photo
   */
  attach(id, { type, bytes }) {
    const photo = { entry: id, type, base64: Buffer.from(bytes).toString("base64") };
    return this.store.change(({ photos }) => void photos.push(photo));
  }

  /** @returns {Kept[]} */
  pending() {
    return this.store.value.entries.filter(({ state }) => state === "pending");
  }

  /**
   * Sends what is pending, in parts; each is acknowledged before the next one is sent.
   * @returns {Promise<Pushed>}
   */
  async push() {
    await this.#upload();
    const total = { succeeded: 0, failed: 0 };
    for (;;) {
      const chunk = this.pending().slice(0, CHUNK).map(({ entry }) => entry);
      if (chunk.length === 0) return total;
      const { succeeded, failed } = await this.#pushPart(chunk);
      total.succeeded += succeeded;
      total.failed += failed;
    }
  }

  /** Reference data first, then what was recorded. */
  async sync() {
    await this.pull();
    return this.push();
  }

  /** What the relay knows of this device. */
  status() {
    const device = encodeURIComponent(this.session.device);
    return this.session.json(`/sync/status?deviceId=${device}`);
  }

  /** Sends photos; a photo that is sent again after a lost answer has the same address. */
  async #upload() {
    for (const photo of this.store.value.photos) {
      const bytes = Buffer.from(photo.base64, "base64");
      const call = { method: "POST", photo: { type: photo.type, bytes } };
      const { url } = await this.session.json("/upload", call);
      await this.store.change((data) => {
        const isThis = (/** @type {typeof photo} */ { entry, base64 }) =>
          entry === photo.entry && base64 === photo.base64;
        data.photos = data.photos.filter((one) => !isThis(one));
        const kept = data.entries.find(({ entry }) => entry.id === photo.entry);
        if (kept !== undefined) kept.entry.photos = [...(kept.entry.photos ?? []), url];
      });
    }
  }

  /**
   * @param {Sent[]} chunk
   * @returns {Promise<Pushed>}
   */
  async #pushPart(chunk) {
    const ids = new Set(chunk.map(({ id }) => id));
    const body = { deviceId: this.session.device, entries: chunk };
    let response;
    try {
      response = await this.session.send("/sync/push", { method: "POST", body });
      // Nothing of it can be stored: no repetition helps, and what comes behind it may be fine.
      if (response.status === 400 || response.status === 404) {
        const { message, errors = [] } = await response.json();
        const reasons = errors.map((/** @type {any} */ error) => error.message);
        await this.#mark(ids, () => ({ state: "failed", reason: reasons.join("; ") || message }));
        return { succeeded: 0, failed: chunk.length };
      }
      if (!response.ok) throw await Refused.from(response);
    } catch (error) {
      await this.#attempted(ids);
      throw error;
    }
    return this.#acknowledge(chunk, await response.json());
  }

  /**
   * Only what is confirmed by itself counts as synced. The counters of the answer say how many, not
   * which; `results` says of each what became of it, in the order of the request.
   * @param {Sent[]} chunk
   * @param {any} answer
   * @returns {Promise<Pushed>}
   */
  async #acknowledge(chunk, { succeeded, failed, results, errors, conflicts }) {
    const rejected = errors.map((/** @type {any} */ { error }) => error);
    /** @type {Map<string, Partial<Kept>>} */
    const fates = new Map();
    for (const [index, { status, entryId }] of results.entries()) {
      const id = /** @type {Sent} */ (chunk[index]).id;
      const conflict = conflicts.find((/** @type {any} */ one) => one.entryId === entryId);
      /** @type {Partial<Kept>} */
      let fate = { state: "synced" };
      if (status === "REJECTED") fate = { state: "failed", reason: rejected.shift() };
      if (status === "CONFLICT") fate = { state: "synced", reason: conflict?.resolution };
      fates.set(id, fate);
    }
    await this.#mark(new Set(fates.keys()), ({ entry }) => fates.get(entry.id) ?? {});
    return { succeeded, failed };
  }

  /** @param {Set<string>} ids */
  #attempted(ids) {
    return this.#mark(ids, ({ attempts }) => ({ attempts: attempts + 1 }));
  }

  /**
   * @param {Set<string>} ids
   * @param {(kept: Kept) => Partial<Kept>} fate
   */
  #mark(ids, fate) {
    return this.store.change(({ entries }) => {
      for (const kept of entries) if (ids.has(kept.entry.id)) Object.assign(kept, fate(kept));
    });
  }
}
