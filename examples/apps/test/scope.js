// The events of a service worker, as far as the examples use them.
//
// It is no browser: no installing, no scope of URLs, no page, no real clock. What it keeps of the
// rules of background sync: a tag is registered once however often that is asked, an event is fired
// when there is a network, a rejected promise means another attempt, the third of them is the last
// and says so, and the worker is made anew for each event, as browsers end idle workers.

/** How often browsers try. */
const ATTEMPTS_MAX = 3;

export class Browser {
  /** @type {Set<string>} */
  #tags = new Set();
  #script;
  /** @type {string[]} */
  notifications = [];

  /** @param {(scope: import("../src/worker.js").Scope) => void} script what the worker's file does */
  constructor(script) {
    this.#script = script;
  }

  /** `registration.sync` of a page. */
  sync = {
    /** @param {string} tag */
    register: async (tag) => void this.#tags.add(tag),
    getTags: async () => [...this.#tags],
  };

  /** The network is back; resolves when nothing more is tried. */
  async online() {
    for (const tag of [...this.#tags]) {
      for (let attempt = 1; attempt <= ATTEMPTS_MAX; attempt += 1) {
        if (await this.#fire(tag, attempt === ATTEMPTS_MAX)) break;
      }
      this.#tags.delete(tag);
    }
  }

  /**
   * @param {string} tag
   * @param {boolean} lastChance
   */
  async #fire(tag, lastChance) {
    /** @type {Promise<unknown>[]} */
    const work = [];
    /** @type {((event: import("../src/worker.js").SyncEvent) => void)[]} */
    const listeners = [];
    this.#script({
      addEventListener: (_, listener) => void listeners.push(listener),
      registration: { showNotification: async (title) => void this.notifications.push(title) },
    });
    const waitUntil = (/** @type {Promise<unknown>} */ promise) => void work.push(promise);
    for (const listener of listeners) listener({ tag, lastChance, waitUntil });
    const ended = await Promise.allSettled(work);
    return ended.every(({ status }) => status === "fulfilled");
  }
}
