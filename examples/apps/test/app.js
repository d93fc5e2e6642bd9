// What every app of the tests has: a way to the relay, a session, and a file for its data.

import { join } from "node:path";

import { Session } from "../src/session.js";
import { Store } from "../src/store.js";
import { PASSWORD } from "./site.js";
import { RELAY, Wire } from "./wire.js";

/**
 * @template {object} T
 * @typedef {object} Opened
 * @property {Wire} wire
 * @property {Session} session
 * @property {Store<T & { tokens?: import("../src/session.js").Tokens }>} store
 */

/**
 * Starts an app on a device, with what is in the device's file.
 * @template {object} T
 * @param {import("./site.js").Site} site
 * @param {string} device
 * @param {() => T} empty
 * @param {Wire} [wire]
 * @returns {Promise<Opened<T>>}
 */
export async function open(site, device, empty, wire = new Wire(site)) {
  const store = /** @type {Opened<T>["store"]} */ (
    await Store.open(join(site.folder, `${device}.json`), empty())
  );
  const tokens = /** @type {any} */ (store);
  const session = new Session({ url: RELAY, device, store: tokens, fetch: wire.fetch });
  return { wire, session, store };
}

/**
 * The same, with somebody logged in.
 * @template {object} T
 * @param {import("./site.js").Site} site
 * @param {string} device
 * @param {string} email
 * @param {() => T} empty
 */
export async function logIn(site, device, email, empty) {
  const app = await open(site, device, empty);
  return { ...app, user: await app.session.logIn(email, PASSWORD) };
}
