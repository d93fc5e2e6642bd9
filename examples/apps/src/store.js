// What an app keeps on its device: one value, changed as a whole and on the disk before it counts.
//
// A browser would keep the same in IndexedDB; nothing else in these examples knows of files.

import { open, readFile, rename } from "node:fs/promises";
import { dirname } from "node:path";

/** @template {object} T */
export class Store {
  /** @type {T} */
  #value;
  /** @type {string | undefined} */
  #path;
  /** @type {Promise<unknown>} */
  #last = Promise.resolve();

  /**
   * @param {T} value
   * @param {string} [path]
   */
  constructor(value, path) {
    this.#value = value;
    this.#path = path;
  }

  /**
   * What the file holds, or `empty` where there is none. A member of `empty` that the file lacks is
   * added, so that a newer app can read what an older one wrote.
   * @template {object} T
   * @param {string} path
   * @param {T} empty
   */
  static async open(path, empty) {
    let text = "{}";
    try {
      text = await readFile(path, "utf8");
    } catch (error) {
      if (/** @type {NodeJS.ErrnoException} */ (error).code !== "ENOENT") throw error;
    }
    return new Store(/** @type {T} */ ({ ...empty, ...JSON.parse(text) }), path);
  }

  /** What is kept; change it by {@link change} alone. */
  get value() {
    return this.#value;
  }

  /**
   * Changes what is kept, wholly or not at all; it is on the disk when this returns.
   * @template R
   * @param {(value: T) => R} edit
   * @returns {Promise<R>}
   */
  change(edit) {
    const turn = this.#last.then(async () => {
      const next = structuredClone(this.#value);
      const result = edit(next);
      if (this.#path !== undefined) await write(this.#path, JSON.stringify(next));
      this.#value = next;
      return result;
    });
    // A change that failed holds up none that follow.
    this.#last = turn.catch(() => {});
    return turn;
  }
}

/**
 * Puts a whole new file in the place of the old one.
 * @param {string} path
 * @param {string} text
 */
async function write(path, text) {
  const file = await open(`${path}.new`, "w", 0o600);
  try {
    await file.writeFile(text);
    await file.sync();
  } finally {
    await file.close();
  }
  await rename(`${path}.new`, path);
  const folder = await open(dirname(path), "r");
  try {
    await folder.sync();
  } finally {
    await folder.close();
  }
}
